//! Certificates for machines that have none, such as an image that holds nothing but this program.
//!
//! Every TLS client of the process reads the platform's certificates, `SSL_CERT_FILE` first. Where there are none,
//! the program starts itself once more with the built-in Mozilla roots in a file of memory under that name: one
//! place for the hub client, the transfers and whatever either brings along.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine;
use rustix::fs::{MemfdFlags, memfd_create};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

const CERTIFICATE_FILE: &str = "SSL_CERT_FILE";

/// Makes sure that TLS clients find certificates. Returns only when they will, or when that cannot be done.
/// `variable` looks up an environment variable.
pub fn ensure(
    arguments: impl IntoIterator<Item = OsString>,
    variable: impl Fn(&str) -> Option<String>,
) -> io::Result<()> {
    let probed = openssl_probe::probe();
    let named = [CERTIFICATE_FILE, "SSL_CERT_DIR"].iter().any(|name| variable(name).is_some());
    let filled =
        |folder: &PathBuf| std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if named || probed.cert_file.is_some() || probed.cert_dir.iter().any(filled) {
        return Ok(());
    }
    // Kept open across the start of the new program, so without close-on-exec.
    let mut file = std::fs::File::from(memfd_create("certificates", MemfdFlags::empty())?);
    file.write_all(pem().as_bytes())?;
    let place = format!("/proc/self/fd/{}", file.as_raw_fd());
    let failed = Command::new("/proc/self/exe")
        .args(arguments.into_iter().skip(1))
        .env(CERTIFICATE_FILE, place)
        .exec();
    Err(failed)
}

fn pem() -> String {
    let encode = |certificate: &[u8]| base64::engine::general_purpose::STANDARD.encode(certificate);
    let certificates = TLS_SERVER_ROOT_CERTS.iter().map(|certificate| {
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", encode(certificate))
    });
    certificates.collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_built_in_roots_are_many() {
        assert!(super::pem().matches("BEGIN CERTIFICATE").count() > 100);
    }
}
