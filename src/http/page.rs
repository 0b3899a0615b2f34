//! The chat page, compiled in.

use warp::{Filter, Rejection, Reply};

/// Serves the page.
pub(super) fn routes() -> impl Filter<Extract = (impl Reply,), Error = Rejection> + Clone + Send + Sync + 'static {
    warp::path::end().map(warp::reply)
}
