//! The chat page, compiled in: a table of files, each answered with the headers that keep the page to itself.
//!
//! The policy allows no inline script or style and no other host. What the page needs goes into one of the files below.

use std::io::Write;
use std::sync::LazyLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use warp::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// The headers of every answer. The policy lets the page run its own files and speak to a WebSocket, nothing else; a browser
/// asks for each file again, and is told in a few bytes that it has the right one.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; \
         base-uri 'none'; frame-ancestors 'none'; form-action 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
    (header::VARY, "accept-encoding"),
];

static ASSETS: LazyLock<[Asset; 12]> = LazyLock::new(|| {
    [
        Asset::new("/", HTML, include_str!("page/index.html")),
        Asset::new("/chat.css", CSS, include_str!("page/chat.css")),
        Asset::new("/chat.js", SCRIPT, include_str!("page/chat.js")),
        Asset::new("/client.js", SCRIPT, include_str!("page/client.js")),
        Asset::new("/dom.js", SCRIPT, include_str!("page/dom.js")),
        Asset::new("/favicon.svg", SVG, include_str!("page/favicon.svg")),
        Asset::new("/history.js", SCRIPT, include_str!("page/history.js")),
        Asset::new("/message.js", SCRIPT, include_str!("page/message.js")),
        Asset::new("/render.js", SCRIPT, include_str!("page/render.js")),
        Asset::new("/sidebar.js", SCRIPT, include_str!("page/sidebar.js")),
        Asset::new("/thread.js", SCRIPT, include_str!("page/thread.js")),
        Asset::new("/theme.js", SCRIPT, include_str!("page/theme.js")),
    ]
});

/// A file of the page.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    plain: Representation,
    gzip: Representation,
}

/// One form of a file. A strong tag names exactly these bytes, so the two forms have two.
struct Representation {
    bytes: Bytes,
    etag: String,
}

impl Asset {
    fn new(path: &'static str, content_type: &'static str, text: &'static str) -> Self {
        let digest = Sha256::digest(text);
        let hash: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        let plain = Representation { bytes: Bytes::from_static(text.as_bytes()), etag: format!("\"{hash}\"") };
        let gzip = Representation { bytes: compressed(text.as_bytes()), etag: format!("\"{hash}-gzip\"") };
        Self { path, content_type, plain, gzip }
    }

    /// The answer to a request with these headers: the file, or 304 when the client has it.
    fn answer(&self, request: &HeaderMap) -> Response {
        let gzip = accepts_gzip(request);
        let representation = if gzip { &self.gzip } else { &self.plain };
        let mut response = if has(request, &representation.etag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let mut response = warp::http::Response::new(representation.bytes.clone()).into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
            if gzip {
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            response
        };
        for (name, value) in HEADERS {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        if let Ok(etag) = HeaderValue::from_str(&representation.etag) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        response
    }
}

/// Serves the page: GET and HEAD of its files.
pub(super) fn routes() -> impl Filter<Extract = (impl Reply,), Error = Rejection> + Clone + Send + Sync + 'static {
    // Made now, and not under the first request.
    LazyLock::force(&ASSETS);
    warp::path::full()
        .and_then(|path: FullPath| async move { asset(path.as_str()).ok_or_else(warp::reject::not_found) })
        .and(warp::get().or(warp::head()).unify())
        .and(warp::header::headers_cloned())
        .map(|asset: &'static Asset, request: HeaderMap| asset.answer(&request))
}

fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

/// The client has the representation of this tag.
fn has(request: &HeaderMap, etag: &str) -> bool {
    items(request, &header::IF_NONE_MATCH).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// The client takes gzip: it is named, and not with a weight of zero.
fn accepts_gzip(request: &HeaderMap) -> bool {
    items(request, &header::ACCEPT_ENCODING).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map(|weight| weight.trim().parse::<f32>());
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight, Some(Ok(0.0) | Err(_)))
    })
}

/// The items of a header that is a comma-separated list.
fn items<'a>(request: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lists = request.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim)
}

fn compressed(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing to memory does not fail").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> warp::http::Response<Bytes> {
        let request = warp::test::request().method(method).path(path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.reply(&routes()).await
    }

    async fn get(path: &str, headers: &[(&str, &str)]) -> warp::http::Response<Bytes> {
        ask("GET", path, headers).await
    }

    #[tokio::test]
    async fn every_file_that_the_page_asks_for_is_served() {
        let index = include_str!("page/index.html");
        let named =
            index.split(['"']).filter(|word| word.ends_with(".js") || word.ends_with(".css") || word.ends_with(".svg"));
        let imported = ASSETS.iter().flat_map(|asset| std::str::from_utf8(&asset.plain.bytes).unwrap().split('"'));
        let imported = imported.filter(|word| word.starts_with("./") && word.ends_with(".js"));
        let mut seen = 0;
        for name in named.chain(imported) {
            let path = format!("/{}", name.trim_start_matches("./"));
            assert_eq!(get(&path, &[]).await.status(), 200, "{path}");
            seen += 1;
        }
        assert!(seen > ASSETS.len(), "only {seen} files are asked for");
    }

    #[tokio::test]
    async fn a_file_carries_the_headers_that_keep_the_page_to_itself() {
        for asset in ASSETS.iter() {
            let response = get(asset.path, &[]).await;
            let header = |name| response.headers().get(name).unwrap().to_str().unwrap();
            assert_eq!(header(header::CONTENT_TYPE), asset.content_type);
            assert!(header(header::CONTENT_SECURITY_POLICY).starts_with("default-src 'none'; script-src 'self';"));
            assert_eq!(header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
            assert_eq!(header(header::REFERRER_POLICY), "no-referrer");
            assert_eq!(header(header::CACHE_CONTROL), "no-cache");
            assert_eq!(response.body(), &asset.plain.bytes);
        }
    }

    #[tokio::test]
    async fn a_client_that_has_a_file_is_told_so_and_sent_nothing() {
        let first = get("/", &[]).await;
        let etag = first.headers()[header::ETAG].to_str().unwrap();
        for known in [etag, &format!("\"other\", W/{etag}"), "*"] {
            let again = get("/", &[("if-none-match", known)]).await;
            assert_eq!((again.status(), again.body().len()), (StatusCode::NOT_MODIFIED, 0), "{known}");
            assert_eq!(again.headers()[header::ETAG], etag);
        }
        assert_eq!(get("/", &[("if-none-match", "\"other\"")]).await.status(), 200);
    }

    #[tokio::test]
    async fn a_client_that_takes_gzip_gets_it_under_a_tag_of_its_own() {
        let (plain, gzip) = (get("/", &[]).await, get("/", &[("accept-encoding", "br, gzip;q=0.5")]).await);
        assert_eq!(gzip.headers()[header::CONTENT_ENCODING], "gzip");
        assert_ne!(plain.headers()[header::ETAG], gzip.headers()[header::ETAG]);
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&gzip.body()[..]), &mut text).unwrap();
        assert_eq!(text, include_bytes!("page/index.html"));
        for refusal in ["identity", "gzip;q=0", "br"] {
            let response = get("/", &[("accept-encoding", refusal)]).await;
            assert!(response.headers().get(header::CONTENT_ENCODING).is_none(), "{refusal}");
        }
    }

    #[tokio::test]
    async fn what_is_no_file_of_the_page_is_not_found() {
        for path in ["/index.html", "/chat.js/", "//", "/..", "/page/chat.js", "/ws"] {
            assert_eq!(get(path, &[]).await.status(), 404, "{path}");
        }
        let post = ask("POST", "/", &[]).await;
        assert_eq!(post.status(), 405);
    }

    #[test]
    fn the_page_stays_small_on_the_wire() {
        let bytes: usize = ASSETS.iter().map(|asset| asset.gzip.bytes.len()).sum();
        assert!(bytes < 60 * 1024, "{bytes} bytes");
    }

    #[test]
    fn no_script_turns_text_into_markup() {
        for asset in ASSETS.iter().filter(|asset| asset.content_type == SCRIPT) {
            let text = std::str::from_utf8(&asset.plain.bytes).unwrap();
            for forbidden in [
                "innerHTML =",
                "innerHTML=",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
            ] {
                assert!(!text.contains(forbidden), "{} in {}", forbidden, asset.path);
            }
        }
    }
}
