//! Why a pagination cannot begin or go on.

use crate::error::HostError;

/// Why a pagination cannot begin or go on; in [`Error::Pagination`](crate::Error::Pagination).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PaginationError {
    /// Neither the function nor the provider's data says how.
    #[error(
        "how does {provider} give its pages? Its catalogue entry has no `proxy.paginate`: say it with `cursor`, `link_rel`, \
         `link_path`, `offset` or `page_number`"
    )]
    NoOptions {
        /// The provider's name.
        provider: String,
    },
    /// An option is missing that this kind of pagination needs.
    #[error("pagination by {kind} needs `{option}`; neither the function nor the provider's data gives it")]
    MissingOption {
        /// `cursor`, `link` or `offset`.
        kind: &'static str,
        /// The name of the option.
        option: &'static str,
    },
    /// What [`starting_at`](crate::Paginate::starting_at) was given is no offset.
    #[error("cannot start at the offset {text:?}: it is no whole number")]
    StartNoNumber {
        /// What was given.
        text: String,
    },
    /// A parameter has no place in the body of the request.
    #[error("the parameter `{name}` has no place in the body of the request: {reason}")]
    NoPlaceInBody {
        /// The parameter's name.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// There is something else than a list.
    #[error("there is no list of items {place} of the answer, but {found}; say where it is with `response_path`")]
    NoList {
        /// Where it was looked for.
        place: String,
        /// What is there.
        found: &'static str,
    },
    /// The answer leads to a page that was there before.
    #[error("page {page} leads to the {what} {to:?}, which was there before, so that the pages would never end")]
    Circle {
        /// `cursor` or `link`.
        what: &'static str,
        /// The cursor or link.
        to: String,
        /// The number of the page that leads back, from 1.
        page: u32,
    },
    /// The page at another offset is the same one.
    #[error(
        "the page at the offset {offset} is the one before it again, so that the pages would never end: the API seems not to \
         understand `{name}`"
    )]
    SamePage {
        /// The offset.
        offset: u64,
        /// The name of its parameter.
        name: String,
    },
    /// There are more pages than the function takes.
    #[error("there are more than {pages_max} pages; `pages_max` sets how many may come")]
    TooManyPages {
        /// How many it takes.
        pages_max: u32,
    },
    /// The link to the next page is none.
    #[error("the link to the next page, {link:?}, is no http URL")]
    BadLink {
        /// The link.
        link: String,
    },
    /// The link to the next page leads to a host that the operator does not allow.
    #[error("the link to the next page leads to {origin}: {source}")]
    ForeignHost {
        /// Scheme, host and port.
        origin: String,
        /// What the host says of it, and the setting that would allow it.
        source: Box<HostError>,
    },
}
