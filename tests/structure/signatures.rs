//! Collects the public types of a file, and the functions whose signatures break a rule.

use syn::visit::{self, Visit};

/// A function has at most this many parameters, `self` not counted.
const MAX_PARAMETERS: usize = 5;

/// What a visit of the syntax tree collects; test code is left out.
#[derive(Default)]
pub(crate) struct Signatures {
    /// Names of public types.
    pub(crate) types: Vec<String>,
    pub(crate) too_many_parameters: Vec<String>,
    pub(crate) boolean_parameters: Vec<String>,
    pub(crate) string_errors: Vec<String>,
    /// Modules in files of their own that exist only in tests.
    pub(crate) test_modules: Vec<String>,
    /// The depth in implementations of traits.
    trait_implementations: usize,
}

impl Signatures {
    /// Collects the signatures of a file.
    ///
    /// # Panics
    /// The text is not valid Rust; it would not compile either.
    pub(crate) fn parse(text: &str) -> Self {
        let mut signatures = Self::default();
        signatures.visit_file(&syn::parse_file(text).expect("the sources compile"));
        signatures
    }
}

pub(crate) fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

fn is_public(visibility: &syn::Visibility) -> bool {
    !matches!(visibility, syn::Visibility::Inherited)
}

impl Visit<'_> for Signatures {
    fn visit_item_mod(&mut self, item: &syn::ItemMod) {
        match (is_test(&item.attrs), &item.content) {
            (true, None) => self.test_modules.push(item.ident.to_string()),
            (true, Some(_)) => {}
            (false, _) => visit::visit_item_mod(self, item),
        }
    }

    fn visit_item_impl(&mut self, item: &syn::ItemImpl) {
        let depth = usize::from(item.trait_.is_some());
        self.trait_implementations += depth;
        visit::visit_item_impl(self, item);
        self.trait_implementations -= depth;
    }

    fn visit_item_struct(&mut self, item: &syn::ItemStruct) {
        if is_public(&item.vis) && !is_test(&item.attrs) {
            self.types.push(item.ident.to_string());
        }
    }

    fn visit_item_enum(&mut self, item: &syn::ItemEnum) {
        if is_public(&item.vis) && !is_test(&item.attrs) {
            self.types.push(item.ident.to_string());
        }
    }

    fn visit_item_type(&mut self, item: &syn::ItemType) {
        // Every crate may have an alias `Result` for its own error, as the standard library does.
        if is_public(&item.vis) && !is_test(&item.attrs) && item.ident != "Result" {
            self.types.push(item.ident.to_string());
        }
    }

    fn visit_item_trait(&mut self, item: &syn::ItemTrait) {
        if is_public(&item.vis) && !is_test(&item.attrs) {
            self.types.push(item.ident.to_string());
        }
        visit::visit_item_trait(self, item);
    }

    fn visit_signature(&mut self, signature: &syn::Signature) {
        let typed: Vec<&syn::PatType> = signature
            .inputs
            .iter()
            .filter_map(|input| match input {
                syn::FnArg::Typed(typed) => Some(typed),
                syn::FnArg::Receiver(_) => None,
            })
            .collect();
        if typed.len() > MAX_PARAMETERS {
            self.too_many_parameters.push(format!("{} ({})", signature.ident, typed.len()));
        }
        let is_bool = |typed: &&&syn::PatType| matches!(&*typed.ty, syn::Type::Path(path) if path.path.is_ident("bool"));
        let name = signature.ident.to_string();
        // A trait determines the parameters of its methods. `from_…_flag` converts a flag to an enum.
        let converts_flag = name.starts_with("from_") && name.ends_with("_flag");
        let is_own = self.trait_implementations == 0 && !converts_flag;
        if is_own && typed.iter().any(|typed| is_bool(&typed)) {
            self.boolean_parameters.push(name);
        }
        if let syn::ReturnType::Type(_, output) = &signature.output
            && has_string_error(output)
        {
            self.string_errors.push(signature.ident.to_string());
        }
        visit::visit_signature(self, signature);
    }
}

/// Whether a type is `Result<_, String>`.
fn has_string_error(output: &syn::Type) -> bool {
    let syn::Type::Path(path) = output else { return false };
    let Some(last) = path.path.segments.last().filter(|segment| segment.ident == "Result") else {
        return false;
    };
    let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else { return false };
    let error = arguments.args.iter().nth(1);
    matches!(error, Some(syn::GenericArgument::Type(syn::Type::Path(path))) if path.path.is_ident("String"))
}

#[test]
fn functions_with_flags_and_string_errors_are_found() {
    let found = Signatures::parse(
        "fn a(x: bool) -> Result<u8, String> { 0 } fn from_yes_flag(yes: bool) {} fn b(x: Option<bool>) {}
         impl Foreign for T { fn c(x: bool) {} } #[cfg(test)] mod tests; #[cfg(test)] mod inline { fn d(x: bool) {} }",
    );
    assert_eq!(found.boolean_parameters, ["a"]);
    assert_eq!(found.string_errors, ["a"]);
    assert_eq!(found.test_modules, ["tests"]);
}
