//! The packages as their users get them: the krew archive and manifest, unpacked as krew does and run through
//! the real kubectl, and the image of the fetcher.

mod completion;
mod image;
mod krew;
mod kubectl;
mod programs;
