//! Lists: all of something, or a page of it and where the next one begins.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::failure::Failure;

/// Items of a page that does not say how many.
const LIMIT: u32 = 100;
/// Items of the longest page.
const LIMIT_MAX: u32 = 1000;

/// A whole list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct Items<T> {
    /// All there are.
    pub(in crate::admin) items: Vec<T>,
}

/// A part of a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct Page<T> {
    /// What the page has.
    pub(in crate::admin) items: Vec<T>,
    /// `cursor` of the next page; null: this is the last one.
    pub(in crate::admin) next: Option<String>,
}

/// Which page. Flattened into a list's own parameters this does not work (serde takes every value as text then): handlers take
/// two `Query`s.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct Paging {
    /// Items of the page, 100 where it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before; left out: the first page.
    pub(in crate::admin) cursor: Option<String>,
}

impl Paging {
    /// Items of the page.
    ///
    /// # Errors
    /// It is none of 1 to 1000.
    pub(in crate::admin) fn limit(&self) -> Result<usize, Failure> {
        match self.limit.unwrap_or(LIMIT) {
            limit @ 1..=LIMIT_MAX => Ok(limit as usize),
            limit => Err(Failure::bad_request(format!("limit: expected 1 to {LIMIT_MAX}, not {limit}"))),
        }
    }
}
