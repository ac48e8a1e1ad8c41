//! Where in a request something is: `header.x-github-event`, `query.token`, `form.AccountSid`, `body.installation.id`, `body.*.portalId`.

/// A place in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Headers of this name, in lower case.
    Header(String),
    /// Parameters of the query.
    Query(String),
    /// Fields of a body that is a form.
    Form(String),
    /// In a body that is JSON.
    Body(Vec<PathStep>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStep {
    /// A field of an object, or an element of a list by its number.
    Name(String),
    /// All elements of a list.
    All,
}

impl Place {
    /// None when it is no place.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (part, name) = match text.split_once('.') {
            Some((part, name)) => (part, name),
            None => (text, ""),
        };
        match part {
            "header" => {
                let name = http::HeaderName::from_bytes(name.as_bytes()).ok()?;
                Some(Self::Header(name.as_str().to_owned()))
            }
            "query" if !name.is_empty() => Some(Self::Query(name.to_owned())),
            "form" if !name.is_empty() => Some(Self::Form(name.to_owned())),
            "body" if name.is_empty() => None,
            "body" => {
                let steps = name.split('.').map(|step| match step {
                    "" => None,
                    "*" => Some(PathStep::All),
                    name => Some(PathStep::Name(name.to_owned())),
                });
                steps.collect::<Option<_>>().map(Self::Body)
            }
            _ => None,
        }
    }

    /// Whether what is there is in the body, which signatures cover.
    #[must_use]
    pub fn is_in_body(&self) -> bool {
        matches!(self, Self::Form(_) | Self::Body(_))
    }
}
