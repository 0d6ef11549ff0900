//! Provides CA certificates on machines that have none, such as an image that contains only this program.
//!
//! On Linux, every TLS client of the process reads the platform's certificates, `SSL_CERT_FILE` first. If there are
//! none, the program executes itself again with `SSL_CERT_FILE` set to an in-memory file of the built-in
//! Mozilla roots. This covers the hub client, the transfers, and their dependencies in one place. Other operating
//! systems always have certificates, and their TLS clients ask the operating system.

pub use system::ensure;

#[cfg(target_os = "linux")]
mod system {
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

    /// Ensures that TLS clients find certificates. Returns if they are available or cannot be provided; otherwise
    /// executes the program again. `variable` looks up an environment variable.
    pub fn ensure(
        arguments: impl IntoIterator<Item = OsString>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> io::Result<()> {
        let probed = openssl_probe::probe();
        let is_configured = [CERTIFICATE_FILE, "SSL_CERT_DIR"].iter().any(|name| variable(name).is_some());
        let has_entries =
            |folder: &PathBuf| std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
        if is_configured || probed.cert_file.is_some() || probed.cert_dir.iter().any(has_entries) {
            return Ok(());
        }
        // The new program needs this file open, so it is not close-on-exec.
        let mut file = std::fs::File::from(memfd_create("certificates", MemfdFlags::empty())?);
        file.write_all(built_in_roots_pem().as_bytes())?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let error = Command::new("/proc/self/exe")
            .args(arguments.into_iter().skip(1))
            .env(CERTIFICATE_FILE, path)
            .exec();
        Err(error)
    }

    fn built_in_roots_pem() -> String {
        let encode = |certificate: &[u8]| base64::engine::general_purpose::STANDARD.encode(certificate);
        let certificates = TLS_SERVER_ROOT_CERTS.iter().map(|certificate| {
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", encode(certificate))
        });
        certificates.collect()
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn built_in_roots_contain_many_certificates() {
            assert!(super::built_in_roots_pem().matches("BEGIN CERTIFICATE").count() > 100);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::ffi::OsString;
    use std::io;

    /// Ensures that TLS clients find certificates: the operating system has them.
    pub fn ensure(
        _: impl IntoIterator<Item = OsString>,
        _: impl Fn(&str) -> Option<String>,
    ) -> io::Result<()> {
        Ok(())
    }
}
