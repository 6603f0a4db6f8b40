//! A blob in zstd as a stream. A thread keeps the context that it used last: a window takes several MiB, and a thread may read a
//! thousand layers.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer, WriteBuf};
use zstd::stream::zio;

thread_local! {
    static LAST: Cell<Option<Decoder<'static>>> = const { Cell::new(None) };
}

/// Decompresses all frames of `input`. Fails if zstd has no memory for a context.
pub(super) fn unframed<'r>(input: impl Read + Send + 'r) -> io::Result<impl Read + Send + 'r> {
    let input = BufReader::with_capacity(zstd::zstd_safe::DCtx::in_size(), input);
    Ok(zio::Reader::new(input, Context::take()?))
}

/// A context that goes back to the thread that drops it.
struct Context(Option<Decoder<'static>>);

impl Context {
    fn take() -> io::Result<Self> {
        let context = match LAST.take() {
            Some(mut context) => {
                context.reinit()?;
                context
            }
            None => Decoder::new()?,
        };
        Ok(Self(Some(context)))
    }

    fn context(&mut self) -> io::Result<&mut Decoder<'static>> {
        let gone = || io::Error::other("the context is gone");
        self.0.as_mut().ok_or_else(gone)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        LAST.set(self.0.take());
    }
}

impl Operation for Context {
    fn run<C: WriteBuf + ?Sized>(
        &mut self,
        input: &mut InBuffer<'_>,
        output: &mut OutBuffer<'_, C>,
    ) -> io::Result<usize> {
        self.context()?.run(input, output)
    }

    fn reinit(&mut self) -> io::Result<()> {
        self.context()?.reinit()
    }

    fn finish<C: WriteBuf + ?Sized>(
        &mut self,
        output: &mut OutBuffer<'_, C>,
        finished_frame: bool,
    ) -> io::Result<usize> {
        self.context()?.finish(output, finished_frame)
    }
}
