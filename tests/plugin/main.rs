//! The packages as users get them: the krew archive and manifest, installed with krew and run through the
//! real kubectl, the other files of a release, the fetcher image, and the examples.

mod completion;
mod examples;
mod image;
mod krew;
mod kubectl;
mod programs;
mod release;
mod sbom;
mod signature;
mod version_bump;
