//! The page's half of [`Files`]: its downloads, some of which have begun before this program was
//! there, and its OPFS directory. Both are JavaScript (`web/src/models/`); nothing is decided here.

use js_sys::Uint8Array;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

use super::{Answer, Body, Files, Kept, NotKept, Unfetched};
use crate::artifacts::FileEntry;
use crate::browser::sleep;

#[wasm_bindgen]
extern "C" {
    /// What the worker hands over: `web/src/contract.js`, `Files`.
    pub type PageFiles;

    #[wasm_bindgen(method, getter)]
    fn catalogue(this: &PageFiles) -> String;

    #[wasm_bindgen(method, catch)]
    async fn open(
        this: &PageFiles,
        path: &str,
        sha256: &str,
        from: f64,
    ) -> Result<PageAnswer, JsValue>;

    #[wasm_bindgen(method, catch)]
    async fn kept(this: &PageFiles, sha256: &str, label: &str)
    -> Result<Option<PageKept>, JsValue>;

    /// An answer of the server.
    pub type PageAnswer;

    #[wasm_bindgen(method, getter)]
    fn status(this: &PageAnswer) -> u16;

    #[wasm_bindgen(method, getter)]
    fn range(this: &PageAnswer) -> Option<String>;

    #[wasm_bindgen(method, catch)]
    async fn next(this: &PageAnswer) -> Result<Option<Uint8Array>, JsValue>;

    #[wasm_bindgen(method)]
    fn cancel(this: &PageAnswer);

    /// A file of the directory, open for this worker alone.
    pub type PageKept;

    #[wasm_bindgen(method)]
    fn bytes(this: &PageKept) -> f64;

    #[wasm_bindgen(method, catch)]
    fn read(this: &PageKept, at: f64, into: &mut [u8]) -> Result<f64, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn append(this: &PageKept, bytes: &[u8]) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch)]
    fn clear(this: &PageKept) -> Result<(), JsValue>;

    #[wasm_bindgen(method)]
    fn close(this: &PageKept);
}

impl Files for PageFiles {
    type Body = PageBody;
    type Kept = OpenFile;

    async fn catalogue(&self) -> Result<Vec<u8>, Unfetched> {
        Ok(PageFiles::catalogue(self).into_bytes())
    }

    async fn open(&self, file: &FileEntry, from: u64) -> Result<Answer<PageBody>, Unfetched> {
        let answer = PageFiles::open(self, &file.path, &file.sha256, from as f64).await;
        let answer = answer.map_err(|_| lost("the server does not answer"))?;
        Ok(Answer {
            status: answer.status(),
            content_range: answer.range(),
            body: PageBody(answer),
        })
    }

    async fn kept(&self, file: &FileEntry, label: &str) -> Option<OpenFile> {
        let kept = PageFiles::kept(self, &file.sha256, label).await;
        kept.ok().flatten().map(OpenFile)
    }

    async fn wait(&self, millis: u32) {
        sleep(millis.cast_signed()).await;
    }
}

fn lost(reason: &str) -> Unfetched {
    Unfetched::Lost(reason.to_owned())
}

/// The bytes of an answer; what is left of them is not fetched once it is dropped.
pub struct PageBody(PageAnswer);

impl Body for PageBody {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Unfetched> {
        let bytes = self.0.next().await;
        let bytes = bytes.map_err(|_| lost("the connection was lost on the way"))?;
        Ok(bytes.map(|bytes| bytes.to_vec()))
    }
}

impl Drop for PageBody {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// A kept file; others may open it once it is dropped.
pub struct OpenFile(PageKept);

impl Kept for OpenFile {
    fn bytes(&self) -> u64 {
        self.0.bytes() as u64
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<usize, NotKept> {
        let count = self.0.read(at as f64, into).map_err(|_| NotKept)?;
        let count = count as usize;
        if count > into.len() {
            Err(NotKept)
        } else {
            Ok(count)
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), NotKept> {
        self.0.append(bytes).map_err(|_| NotKept)
    }

    fn clear(&mut self) -> Result<(), NotKept> {
        self.0.clear().map_err(|_| NotKept)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.0.close();
    }
}
