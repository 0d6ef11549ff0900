//! Generates pronounceable words without a meaning for the vocabulary of the built-in model.
//! The list must not change, because the model must be identical on every machine.

/// The consonants and vowels of the syllables, chosen so that they do not form rude words.
const CONSONANTS: &[u8] = b"bdlmnrstv";
const VOWELS: &[u8] = b"aeiou";
/// Step through the list so that neighboring words do not rhyme. It is coprime to the number of words.
const STRIDE: usize = 1279;

/// All words of two syllables, without duplicates, in a fixed order.
pub(super) fn words() -> impl Iterator<Item = String> {
    let syllables: Vec<[u8; 2]> =
        CONSONANTS.iter().flat_map(|consonant| VOWELS.iter().map(|vowel| [*consonant, *vowel])).collect();
    let count = syllables.len() * syllables.len();
    (0..count).map(move |step| {
        let index = step * STRIDE % count;
        let pair = [syllables[index / syllables.len()], syllables[index % syllables.len()]];
        pair.concat().into_iter().map(char::from).collect()
    })
}
