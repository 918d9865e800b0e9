//! What the client asks of the browser beside its socket: a timer, a file of the server, a GPU.

use js_sys::{Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::cache::Unfetched;
use crate::device::GpuLimits;
use crate::server::Server;

/// Waits by the worker's own timer; without one it does not wait.
pub(crate) async fn sleep(millis: i32) {
    let promise = Promise::new(&mut |resolve, _| {
        let global = js_sys::global();
        let timer = Reflect::get(&global, &"setTimeout".into())
            .ok()
            .and_then(|timer| timer.dyn_into::<Function>().ok());
        let started = timer.map(|timer| timer.call2(&global, &resolve, &millis.into()));
        if !matches!(started, Some(Ok(_))) {
            let _ = resolve.call0(&JsValue::NULL);
        }
    });
    let _ = JsFuture::from(promise).await;
}

/// Fetches at most `bytes_max` bytes.
///
/// # Errors
///
/// When the answer is not a success, is too long, or ends early.
pub(crate) async fn fetch(
    server: &Server,
    path: &str,
    bytes_max: u64,
) -> Result<Vec<u8>, Unfetched> {
    let lost = |reason: &str| Unfetched::Lost(reason.to_owned());
    let unanswered = |_| lost("the server does not answer");
    let global: web_sys::WorkerGlobalScope = js_sys::global()
        .dyn_into()
        .map_err(|_| lost("this is not a worker"))?;
    let headers = web_sys::Headers::new().map_err(unanswered)?;
    if let Some(authorization) = server.authorization() {
        let set = headers.set("authorization", &authorization);
        set.map_err(unanswered)?;
    }
    let options = web_sys::RequestInit::new();
    options.set_headers(&headers);
    let answer = global.fetch_with_str_and_init(&server.url(path), &options);
    let response: web_sys::Response = JsFuture::from(answer)
        .await
        .map_err(unanswered)?
        .dyn_into()
        .map_err(unanswered)?;
    if !response.ok() {
        return Err(Unfetched::Status(response.status()));
    }
    let body = response.body().ok_or_else(|| lost("the answer is empty"))?;
    let reader: web_sys::ReadableStreamDefaultReader = body
        .get_reader()
        .dyn_into()
        .map_err(|_| lost("the answer cannot be read"))?;
    let mut bytes = Vec::new();
    loop {
        let part = JsFuture::from(reader.read())
            .await
            .map_err(|_| lost("the connection was lost on the way"))?;
        let done = Reflect::get(&part, &"done".into()).is_ok_and(|done| done.is_truthy());
        if done {
            return Ok(bytes);
        }
        let value = Reflect::get(&part, &"value".into()).map_err(unanswered)?;
        let chunk = Uint8Array::new(&value);
        if bytes.len() as u64 + u64::from(chunk.length()) > bytes_max {
            return Err(Unfetched::TooLong { bytes_max });
        }
        let start = bytes.len();
        bytes.resize(start + chunk.length() as usize, 0);
        chunk.copy_to(&mut bytes[start..]);
    }
}

/// What the browser says of its GPU.
#[derive(Debug, Clone)]
pub(crate) struct GpuProbe {
    /// For people; browsers often say little.
    pub(crate) name: String,
    /// What a model can be too large for.
    pub(crate) limits: GpuLimits,
}

/// Asks for a WebGPU adapter; none where the browser has no WebGPU or no GPU for it.
pub(crate) async fn probe_gpu() -> Option<GpuProbe> {
    let get = |object: &JsValue, key: &str| Reflect::get(object, &key.into()).ok();
    let navigator = get(&js_sys::global(), "navigator")?;
    let gpu = get(&navigator, "gpu").filter(|gpu| gpu.is_object())?;
    let request: Function = get(&gpu, "requestAdapter")?.dyn_into().ok()?;
    let promise: Promise = request.call0(&gpu).ok()?.dyn_into().ok()?;
    let adapter = JsFuture::from(promise)
        .await
        .ok()
        .filter(|adapter| adapter.is_object())?;
    let limits = get(&adapter, "limits")?;
    let limit = |name| get(&limits, name)?.as_f64().map(|bytes| bytes as u64);
    let limits = GpuLimits {
        binding_bytes_max: limit("maxStorageBufferBindingSize")?,
        buffer_bytes_max: limit("maxBufferSize")?,
    };
    let info = get(&adapter, "info").unwrap_or(JsValue::NULL);
    let text = |key| {
        get(&info, key)
            .and_then(|value| value.as_string())
            .unwrap_or_default()
    };
    let name = [text("vendor"), text("architecture"), text("description")].join(" ");
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let name = if name.is_empty() {
        "WebGPU".to_owned()
    } else {
        name
    };
    Some(GpuProbe { name, limits })
}
