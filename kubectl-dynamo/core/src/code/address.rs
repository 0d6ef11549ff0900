//! The address of a message code on the website of the documentation. The website has one page for each code
//! (`docs/site/build`), which never moves.

use super::MessageCode;

/// The address of the website, such as `https://docs.example/dynamo`. The build of a release sets it. Other builds do not
/// print addresses, because their codes may not be published.
const DOCS_ADDRESS: Option<&str> = option_env!("KUBECTL_DYNAMO_DOCS_ADDRESS");

impl MessageCode {
    /// The address of the page about the code, in a build that knows the website.
    pub fn address(self) -> Option<String> {
        DOCS_ADDRESS.map(|base| self.address_below(base))
    }

    fn address_below(self, base: &str) -> String {
        format!("{}/codes/{self}.html", base.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_a_code_is_below_the_address_of_the_website() {
        for base in ["https://docs.example/dynamo", "https://docs.example/dynamo/"] {
            let address = MessageCode::RbacDenied.address_below(base);
            assert_eq!(address, "https://docs.example/dynamo/codes/KD0105.html");
        }
    }
}
