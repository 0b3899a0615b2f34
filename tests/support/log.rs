//! What a test's own thread logs.
//!
//! One subscriber serves the whole binary. A subscriber set for one thread alone misses lines: when another thread reaches a
//! log statement first, that thread, which has none, decides for all that nobody listens.

use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;
use std::sync::Once;

use tracing_subscriber::fmt::MakeWriter;

thread_local! {
    static CAPTURED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// The lines logged on this thread, of level `INFO` and above, for as long as it lives.
pub struct Log(PhantomData<*const ()>);

/// Starts to keep what this thread logs. A `#[tokio::test]` runs its tasks on its own thread.
pub fn capture() -> Log {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let subscriber = tracing_subscriber::fmt().with_writer(ThisThread).with_ansi(false).finish();
        tracing::subscriber::set_global_default(subscriber).expect("no other subscriber in this binary");
    });
    CAPTURED.set(Some(Vec::new()));
    Log(PhantomData)
}

impl Log {
    /// The lines so far.
    pub fn text(&self) -> String {
        CAPTURED.with_borrow(|captured| String::from_utf8_lossy(captured.as_deref().unwrap_or_default()).into_owned())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        CAPTURED.set(None);
    }
}

struct ThisThread;

impl io::Write for ThisThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        CAPTURED.with_borrow_mut(|captured| captured.iter_mut().for_each(|captured| captured.extend_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for ThisThread {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}
