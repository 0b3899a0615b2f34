//! The chat page, compiled in: a table of files, and the headers that keep it to itself.
//!
//! The page may load nothing from another host and run nothing that is not one of these files: the policy below says so, and a
//! browser enforces it.

use std::sync::LazyLock;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use warp::http::{HeaderValue, StatusCode, header};
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

/// What the page may do.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; \
     img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'";

/// One file of the page.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    body: &'static [u8],
    /// Changes with the content, and with nothing else.
    etag: HeaderValue,
}

macro_rules! assets {
    ($($path:literal $file:literal $content_type:literal),+ $(,)?) => {
        vec![$(Asset::new($path, $content_type, include_bytes!(concat!("page/", $file)))),+]
    };
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    assets![
        "/" "index.html" "text/html; charset=utf-8",
        "/chat.css" "chat.css" "text/css; charset=utf-8",
        "/favicon.svg" "favicon.svg" "image/svg+xml",
        "/chat.js" "chat.js" "text/javascript; charset=utf-8",
        "/client.js" "client.js" "text/javascript; charset=utf-8",
        "/dom.js" "dom.js" "text/javascript; charset=utf-8",
        "/message.js" "message.js" "text/javascript; charset=utf-8",
        "/render.js" "render.js" "text/javascript; charset=utf-8",
        "/sidebar.js" "sidebar.js" "text/javascript; charset=utf-8",
        "/theme.js" "theme.js" "text/javascript; charset=utf-8",
        "/thread.js" "thread.js" "text/javascript; charset=utf-8",
    ]
});

/// Serves the page.
pub(super) fn routes() -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    warp::get().and(warp::path::full()).and(warp::header::optional::<String>("if-none-match")).and_then(
        |path: FullPath, known: Option<String>| async move {
            let asset = ASSETS.iter().find(|asset| asset.path == path.as_str());
            asset.map(|asset| asset.answer(known.as_deref())).ok_or_else(warp::reject::not_found)
        },
    )
}

impl Asset {
    fn new(path: &'static str, content_type: &'static str, body: &'static [u8]) -> Self {
        let hash: String = Sha256::digest(body).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        let etag = HeaderValue::from_str(&format!("\"{hash}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self { path, content_type, body, etag }
    }

    /// The file, or that the browser's copy is still right.
    fn answer(&self, known: Option<&str>) -> Response {
        let is_known = known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == self.etag));
        let (status, body) = if is_known {
            (StatusCode::NOT_MODIFIED, Bytes::new())
        } else {
            (StatusCode::OK, Bytes::from_static(self.body))
        };
        let mut response = warp::http::Response::new(body).into_response();
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_names_is_served() {
        let text = |asset: &Asset| String::from_utf8(asset.body.to_vec()).unwrap();
        let mut named = 0;
        for asset in ASSETS.iter() {
            for rest in text(asset).split(['"', '\'']).filter(|word| !word.contains(char::is_whitespace)) {
                let name = rest.trim_start_matches("./");
                if [".js", ".css", ".svg"].iter().any(|ending| name.ends_with(ending)) {
                    assert!(ASSETS.iter().any(|asset| asset.path == format!("/{name}")), "{name} in {}", asset.path);
                    named += 1;
                }
            }
        }
        assert!(named > 15, "only {named} names were found");
    }

    #[tokio::test]
    async fn a_copy_that_is_still_right_is_not_sent_again() {
        let fresh = warp::test::request().path("/chat.js").reply(&routes()).await;
        assert_eq!(fresh.status(), 200);
        let etag = fresh.headers()["etag"].to_str().unwrap().to_owned();
        let known = warp::test::request().path("/chat.js").header("if-none-match", etag).reply(&routes()).await;
        assert_eq!((known.status().as_u16(), known.body().len()), (304, 0));
        let old = warp::test::request().path("/chat.js").header("if-none-match", "\"other\"").reply(&routes()).await;
        assert_eq!(old.status(), 200);
    }
}
