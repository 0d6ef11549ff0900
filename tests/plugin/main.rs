//! The packages as their users get them: the krew archive and manifest, unpacked as krew does and run through
//! the real kubectl, the image of the fetcher, and the examples.

mod completion;
mod examples;
mod image;
mod krew;
mod kubectl;
mod programs;
