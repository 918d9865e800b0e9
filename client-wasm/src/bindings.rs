//! The JavaScript boundary: the page's `Client`. Nothing but translation happens here.
//!
//! One thing at a time, in the order asked for: while `train` lasts, only `pause`, `resume`,
//! `cancel` and `traffic` are answered at once, and while `reading` lasts `stop_reading`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures_util::lock::Mutex;
use js_sys::{Error, Function, JSON};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::privacy::mechanism::MECHANISMS;
use shared::text::RawText;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

use crate::cache::page::PageFiles;
use crate::client::Client as Core;
use crate::client::reading::Stop;
use crate::error::ClientError;
use crate::file::ChosenColumns;
use crate::job::{Command, Traffic};
use crate::options::{ConnectOptions, PrivacyOptions, ReadingOptions, TrainOptions};
use crate::release::ReleaseKey;
use crate::server::{AccessToken, Server};
use crate::transport::browser::BrowserTransport;
use crate::transport::observed::{Observed, Watch};

/// What a client is connected with.
#[derive(serde::Deserialize)]
struct Connecting {
    /// Where the server asks for one.
    token: Option<String>,
    #[serde(flatten)]
    options: ConnectOptions,
}

/// A client in a worker.
#[wasm_bindgen]
pub struct Client {
    server: Server,
    on_event: Function,
    core: Mutex<Core<Observed<BrowserTransport>>>,
    traffic: Rc<Cell<Traffic>>,
    commands: RefCell<UnboundedSender<Command>>,
    stop: RefCell<Stop>,
}

#[wasm_bindgen]
impl Client {
    /// Prepares the bottom from what the server offers, or what is kept of it.
    pub async fn connect(
        server: String,
        options: JsValue,
        on_event: Function,
        files: PageFiles,
    ) -> Result<Client, JsValue> {
        let Connecting { token, options } = from_js(&options)?;
        let token = token.as_deref().map(AccessToken::new).transpose();
        let server = Server::from(&server).with_token(token.map_err(to_error)?);
        let key = ReleaseKey::from_system().map_err(to_error)?;
        let report = |event| emit(&on_event, &event);
        let core = Core::connect_with(&files, &options, key, report).await;
        let core = core.map_err(to_error)?;
        let (commands, _) = unbounded();
        Ok(Self {
            server,
            on_event,
            traffic: core.traffic(),
            core: Mutex::new(core),
            commands: RefCell::new(commands),
            stop: RefCell::default(),
        })
    }

    /// What the server offers.
    pub async fn catalogue(&self) -> Result<JsValue, JsValue> {
        let core = self.core.lock().await;
        let catalogue = core.catalogue();
        let cuts: Vec<u32> = catalogue.cuts.iter().map(|entry| entry.cut).collect();
        let bottoms = catalogue.cuts.iter().flat_map(|entry| {
            entry.artifacts.iter().map(|bottom| {
                serde_json::json!({
                    "cut": entry.cut,
                    "precision": bottom.precision,
                    "bytes": bottom.file.bytes,
                })
            })
        });
        let bottoms: Vec<_> = bottoms.collect();
        to_js(&serde_json::json!({
            "models": [{
                "model_id": catalogue.model_id,
                "family": catalogue.family,
                "n_layers": catalogue.n_layers,
                "d_model": catalogue.d_model,
                "cuts": cuts,
                "bottoms": bottoms,
            }],
            "model_id": catalogue.model_id,
            "cut": core.cut(),
        }))
    }

    /// Reads a file of labelled texts.
    pub async fn read_file(&self, name: String, bytes: Vec<u8>) -> Result<JsValue, JsValue> {
        answer(self.core.lock().await.read_file(&name, &bytes))
    }

    /// Chooses which columns mean what.
    pub async fn choose_columns(&self, chosen: JsValue) -> Result<JsValue, JsValue> {
        let chosen: ChosenColumns = from_js(&chosen)?;
        answer(self.core.lock().await.choose_columns(&chosen))
    }

    /// The table of mechanisms, in the order in which they are offered.
    pub fn mechanisms(&self) -> Result<JsValue, JsValue> {
        to_js(&MECHANISMS)
    }

    /// Chooses the mechanism and its strength.
    pub async fn set_privacy(&self, options: JsValue) -> Result<JsValue, JsValue> {
        let options: PrivacyOptions = from_js(&options)?;
        answer(self.core.lock().await.set_privacy(&options).await)
    }

    /// Some texts of the file beside what the server would see.
    pub async fn preview(&self, options: JsValue) -> Result<JsValue, JsValue> {
        #[derive(serde::Deserialize)]
        struct Options {
            examples: usize,
        }
        let Options { examples } = from_js(&options)?;
        answer(self.core.lock().await.preview(examples).await)
    }

    /// One text or pair beside what the server would see.
    pub async fn preview_text(
        &self,
        text: String,
        pair: Option<String>,
    ) -> Result<JsValue, JsValue> {
        let (text, pair) = (RawText::new(text), pair.map(RawText::new));
        let core = self.core.lock().await;
        answer(core.preview_text(&text, pair.as_ref()).await)
    }

    /// What an attacker could read back of the file, by attacks that are tried here.
    pub async fn reading(&self, options: JsValue) -> Result<JsValue, JsValue> {
        let options: ReadingOptions = from_js(&options)?;
        let stop = Stop::default();
        self.stop.replace(stop.clone()); // before the lock: what waits can be stopped too
        let core = self.core.lock().await;
        let on_event = |event| emit(&self.on_event, &event);
        answer(core.reading(&options, &stop, on_event).await)
    }

    /// Ends the reading.
    pub fn stop_reading(&self) {
        self.stop.borrow().ask();
    }

    /// Releases the file and trains; ends when the run does.
    pub async fn train(&self, options: JsValue) -> Result<(), JsValue> {
        let options: TrainOptions = from_js(&options)?;
        let mut core = self.core.lock().await;
        let (sender, mut commands): (_, UnboundedReceiver<Command>) = unbounded();
        self.commands.replace(sender);
        let open = || BrowserTransport::connect(&self.server);
        let connect = || Observed::connect(self.watch(), open);
        let on_event = |event| emit(&self.on_event, &event);
        match core.train(connect, &options, &mut commands, on_event).await {
            Ok(_) | Err(ClientError::Stopped) => Ok(()),
            Err(error) => Err(to_error(error)),
        }
    }

    /// Holds the run.
    pub fn pause(&self) {
        self.command(Command::Pause);
    }

    /// Goes on with the run.
    pub fn resume(&self) {
        self.command(Command::Resume);
    }

    /// Ends the run and keeps the best adapter so far.
    pub fn cancel(&self) {
        self.command(Command::Cancel);
    }

    /// Classifies texts or pairs: `[text, pair or null]` each.
    pub async fn predict(&self, texts: JsValue) -> Result<JsValue, JsValue> {
        let texts: Vec<(String, Option<String>)> = from_js(&texts)?;
        let texts: Vec<_> = texts
            .into_iter()
            .map(|(text, pair)| (RawText::new(text), pair.map(RawText::new)))
            .collect();
        answer(self.core.lock().await.predict(&texts).await)
    }

    /// Classifies a labelled file that was not trained on, and counts the right answers.
    pub async fn evaluate(
        &self,
        name: String,
        bytes: Vec<u8>,
        chosen: JsValue,
    ) -> Result<JsValue, JsValue> {
        let chosen: ChosenColumns = from_js(&chosen)?;
        let mut core = self.core.lock().await;
        answer(core.evaluate(&name, &bytes, &chosen).await)
    }

    /// Bytes and frames of the current run.
    pub fn traffic(&self) -> Result<JsValue, JsValue> {
        to_js(&self.traffic.get())
    }
}

impl Client {
    /// Tells the page of each frame and connection, from the bytes that the socket is given.
    fn watch(&self) -> Watch {
        let on_event = self.on_event.clone();
        Rc::new(move |sent| emit(&on_event, sent))
    }

    fn command(&self, command: Command) {
        // Without a run there is nobody to hear it.
        let _ = self.commands.borrow().unbounded_send(command);
    }
}

fn answer<V: Serialize>(result: Result<V, ClientError>) -> Result<JsValue, JsValue> {
    to_js(&result.map_err(to_error)?)
}

fn emit(on_event: &Function, event: &impl Serialize) {
    if let Ok(event) = to_js(event) {
        // A page that throws in its own handler is not the client's business.
        let _ = on_event.call1(&JsValue::NULL, &event);
    }
}

fn to_js<V: Serialize>(value: &V) -> Result<JsValue, JsValue> {
    let json = serde_json::to_string(value).map_err(|_| JsValue::from_str("not serializable"))?;
    JSON::parse(&json)
}

fn from_js<V: DeserializeOwned>(value: &JsValue) -> Result<V, JsValue> {
    let unusable = |problem: String| {
        to_error(ClientError::Option {
            name: "options",
            problem,
        })
    };
    let json = JSON::stringify(value)
        .ok()
        .and_then(|json| json.as_string());
    let json = json.ok_or_else(|| unusable("they are not plain data".to_owned()))?;
    serde_json::from_str(&json).map_err(|error| unusable(error.to_string()))
}

#[allow(clippy::needless_pass_by_value)] // the shape that map_err wants
fn to_error(error: ClientError) -> JsValue {
    let js = Error::new(&error.to_string());
    js.set_name(error.name());
    js.into()
}
