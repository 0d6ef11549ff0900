//! The packages as users get them: the krew archive and manifest, installed as krew does and run through the
//! real kubectl, the fetcher image, and the examples.

mod completion;
mod examples;
mod image;
mod krew;
mod kubectl;
mod programs;
