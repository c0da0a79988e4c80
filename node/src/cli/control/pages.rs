//! Lists that come page by page, as one.

use tonic::{Response, Status};

use super::client::{ControlPlane, Session};
use crate::cli::output::Failure;

/// Most pages of one list: a control plane that never comes to an end is not followed for ever.
const PAGES_MAX: usize = 10_000;

/// An answer that holds a page.
pub(in crate::cli) trait Page {
    /// What is listed.
    type Item;
    /// The items, and the token of the next page; empty after the last.
    fn into_parts(self) -> (Vec<Self::Item>, String);
}

impl ControlPlane {
    /// Everything of a list. `call` asks for the page of a token; the first one's is empty. An instance that goes away
    /// in between is passed over: the next one goes on after the same item.
    pub(in crate::cli) async fn all<P: Page>(
        &mut self,
        call: impl AsyncFn(Session, String) -> Result<Response<P>, Status>,
    ) -> Result<Vec<P::Item>, Failure> {
        let (mut all, mut token) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let page = self.ask(async |session| call(session, token.clone()).await);
            let (items, next) = page.await?.into_parts();
            all.extend(items);
            if next.is_empty() {
                return Ok(all);
            }
            token = next;
        }
        Err(Failure::Other(format!(
            "the list does not end after {PAGES_MAX} pages"
        )))
    }
}
