//! Words that can be read aloud and mean nothing.

/// Consonants and vowels of which a syllable is made. The choice leaves out those that spell rude words.
const CONSONANTS: &[u8] = b"bdlmnrstv";
const VOWELS: &[u8] = b"aeiou";
/// Steps through the list so that neighbours do not rhyme; it shares no factor with the number of words.
const STRIDE: usize = 1279;

/// Every word of two syllables, each once, in an order that never changes.
pub(super) fn words() -> impl Iterator<Item = String> {
    let syllables: Vec<[u8; 2]> =
        CONSONANTS.iter().flat_map(|consonant| VOWELS.iter().map(|vowel| [*consonant, *vowel])).collect();
    let count = syllables.len() * syllables.len();
    (0..count).map(move |step| {
        let place = step * STRIDE % count;
        let pair = [syllables[place / syllables.len()], syllables[place % syllables.len()]];
        pair.concat().into_iter().map(char::from).collect()
    })
}
