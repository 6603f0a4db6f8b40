//! A headless Chromium, driven by its DevTools protocol over a pipe: no port, no network, no driver to be installed.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What Chromium is called: in Debian, in Fedora, by Google.
const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "chrome-headless-shell",
];

/// How long an answer may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    session: Option<String>,
    commands: u64,
    events: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// Starts it with an empty profile and an empty page.
    pub fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let name = NAMES.into_iter().find(|name| {
            Command::new("sh")
                .args(["-c", "command -v \"$0\"", name])
                .output()
                .unwrap()
                .status
                .success()
        });
        let name =
            name.unwrap_or_else(|| panic!("none of {NAMES:?} is installed; see scripts/test"));
        // It reads commands from descriptor 3 and answers on 4.
        let log = std::fs::File::create(profile.path().join("log")).unwrap();
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >&2", "sh", name])
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
            ])
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(["--remote-debugging-pipe", "about:blank"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let (to, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, from) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0) {
                let Ok(message) = message else { break };
                let sent = sender.send(serde_json::from_slice(&message).unwrap());
                if sent.is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            child,
            to,
            from,
            session: None,
            commands: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let targets = browser.command("Target.getTargets", json!({}));
        let page = targets["targetInfos"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["type"] == "page")
            .unwrap();
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let session = browser.command("Target.attachToTarget", attach)["sessionId"]
            .as_str()
            .map(str::to_owned);
        browser.session = session;
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.command(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Sends a command and returns its result; what happens meanwhile is kept.
    pub fn command(&mut self, method: &str, params: Value) -> Value {
        self.commands += 1;
        let mut message = json!({ "id": self.commands, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to
            .write_all(format!("{message}\0").as_bytes())
            .unwrap();
        loop {
            let mut answer = self.from.recv_timeout(PATIENCE).unwrap_or_else(|e| {
                let log =
                    std::fs::read_to_string(self._profile.path().join("log")).unwrap_or_default();
                panic!("{method}: no answer from the browser: {e}\n{log}")
            });
            if answer["id"] != self.commands {
                self.events.push(answer);
                continue;
            }
            assert_eq!(answer["error"], Value::Null, "{method}");
            return answer["result"].take();
        }
    }

    /// Shows a page and waits until `is_ready`, an expression, is true.
    pub fn open(&mut self, page: &Path, is_ready: &str) {
        self.command(
            "Page.navigate",
            json!({ "url": format!("file://{}", page.display()) }),
        );
        self.wait(is_ready);
    }

    /// Waits until an expression is true.
    pub fn wait(&mut self, expression: &str) {
        let begun = Instant::now();
        while self.evaluate(&format!("Boolean({expression})")) != json!(true) {
            assert!(begun.elapsed() < PATIENCE, "never true: {expression}");
        }
    }

    /// Returns what an expression is, or what it promises.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.command("Runtime.evaluate", params);
        assert_eq!(answer["exceptionDetails"], Value::Null, "{expression}");
        answer["result"]["value"].take()
    }

    /// What an expression is, as text.
    pub fn text(&mut self, expression: &str) -> String {
        let value = self.evaluate(expression);
        value
            .as_str()
            .unwrap_or_else(|| panic!("{expression}: {value}"))
            .to_owned()
    }

    /// The texts of all elements that a selector chooses.
    pub fn texts(&mut self, selector: &str) -> Vec<String> {
        let expression =
            format!("Array.from(document.querySelectorAll({selector:?}), one => one.textContent)");
        let all = self.evaluate(&expression);
        all.as_array()
            .unwrap()
            .iter()
            .map(|one| one.as_str().unwrap().to_owned())
            .collect()
    }

    /// Sets the size of the window and the preferred colours: `light` or `dark`.
    pub fn look(&mut self, width: u32, height: u32, scheme: &str) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.command("Emulation.setDeviceMetricsOverride", metrics);
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        );
    }

    /// Presses a key, as a person does.
    pub fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            " " => (32, " "),
            "Tab" => (9, ""),
            "Backspace" => (8, ""),
            "Escape" => (27, ""),
            "End" => (35, ""),
            "Home" => (36, ""),
            "ArrowLeft" => (37, ""),
            "ArrowUp" => (38, ""),
            "ArrowRight" => (39, ""),
            "ArrowDown" => (40, ""),
            _ => panic!("the key {key:?} has no code here"),
        };
        let mut params = json!({ "type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
        self.command("Input.dispatchKeyEvent", params.clone());
        params["type"] = json!("keyUp");
        params["text"] = json!("");
        self.command("Input.dispatchKeyEvent", params);
    }

    /// Writes text where the focus is.
    pub fn write(&mut self, text: &str) {
        self.command("Input.insertText", json!({ "text": text }));
    }

    /// Gives the focus to the first element that a selector chooses.
    pub fn focus(&mut self, selector: &str) {
        let focused = format!(
            "(one => (one.focus(), one === document.activeElement))(document.querySelector({selector:?}))"
        );
        assert_eq!(
            self.evaluate(&focused),
            json!(true),
            "{selector} takes no focus"
        );
    }

    /// Moves the pointer to the middle of the first element that a selector chooses.
    pub fn point(&mut self, selector: &str) -> (f64, f64) {
        // What was out of sight gets its true height when it is first shown.
        let middle = format!(
            "(async one => {{
               const frame = () => new Promise(requestAnimationFrame);
               for (let i = 0; i < 3; i += 1) {{ one.scrollIntoView({{ block: 'center', behavior: 'instant' }}); await frame(); }}
               const box = one.getBoundingClientRect();
               return [box.left + box.width / 2, box.top + box.height / 2];
             }})(document.querySelector({selector:?}))"
        );
        let middle = self.evaluate(&middle);
        let (x, y) = (middle[0].as_f64().unwrap(), middle[1].as_f64().unwrap());
        self.command(
            "Input.dispatchMouseEvent",
            json!({ "type": "mouseMoved", "x": x, "y": y }),
        );
        (x, y)
    }

    /// Clicks into the middle of it.
    pub fn click(&mut self, selector: &str) {
        let (x, y) = self.point(selector);
        for event in ["mousePressed", "mouseReleased"] {
            let params =
                json!({ "type": event, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.command("Input.dispatchMouseEvent", params);
        }
    }

    /// Saves what the window shows as PNG, in base64.
    pub fn screenshot(&mut self) -> String {
        let shot = self.command("Page.captureScreenshot", json!({ "format": "png" }));
        shot["data"].as_str().unwrap().to_owned()
    }

    /// The addresses that were asked for, of whatever kind.
    pub fn requests(&self) -> Vec<String> {
        let all = self
            .events
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent");
        all.map(|event| {
            event["params"]["request"]["url"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
    }

    /// What the console has to say: errors, warnings and messages.
    pub fn complaints(&self) -> Vec<&Value> {
        const METHODS: [&str; 3] = [
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
            "Log.entryAdded",
        ];
        self.events
            .iter()
            .filter(|event| METHODS.iter().any(|method| event["method"] == *method))
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
