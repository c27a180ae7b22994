//! Slack's incoming webhooks, with Block Kit
//! (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>).

use serde_json::{Value, json};

use super::{Message, NotifyError, judged};
use crate::http::{Client, ClientOptions, HttpError, Request};
use crate::secret::Secret;

/// Longest header of a message, in characters.
const HEADER: usize = 150;

/// Longest text of a section, in characters; the system's limit is 3,000.
const SECTION: usize = 2_900;

/// An incoming webhook. Its whole address is a secret: who has it can write.
#[derive(Debug)]
pub struct Slack {
    client: Client,
    path: Secret,
}

impl Slack {
    /// A channel at this address.
    ///
    /// # Errors
    /// It is none that may be spoken to.
    pub fn new(address: &Secret) -> Result<Self, HttpError> {
        let text = address.expose().trim();
        // Errors name the host alone.
        let after = text.find("://").map_or(0, |at| at + 3);
        let cut = text
            .get(after..)
            .and_then(|rest| rest.find('/'))
            .map_or(text.len(), |at| after + at);
        let (host, path) = text.split_at(cut);
        let path = Secret::new(path.trim_start_matches('/').to_owned());
        Ok(Self {
            client: Client::new(host, ClientOptions::default())?,
            path: path.ok_or_else(|| HttpError::Address {
                address: host.to_owned(),
                reason: "it has no path: an incoming webhook has one that is its secret".to_owned(),
            })?,
        })
    }

    pub(super) async fn send(&self, message: &Message) -> Result<String, NotifyError> {
        let request = Request::post(self.path.expose(), &blocks(message));
        judged(self.client.send(&request).await)
    }
}

/// The message in blocks: a heading, what is to be known, and a button that opens the page.
fn blocks(message: &Message) -> Value {
    let title: String = message.title.chars().take(HEADER).collect();
    let mut text = String::new();
    for line in &message.lines {
        text.push_str(&format!(
            "*{}*  {}\n",
            escaped(&line.name),
            escaped(&line.text)
        ));
    }
    let text: String = text.trim_end().chars().take(SECTION).collect();
    let mut blocks = vec![
        json!({"type": "header", "text": {"type": "plain_text", "text": title, "emoji": false}}),
    ];
    if !text.is_empty() {
        blocks.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": text}}));
    }
    if let Some(link) = &message.link {
        blocks.push(json!({"type": "actions", "elements": [
            {"type": "button", "text": {"type": "plain_text", "text": "Open"}, "url": link}
        ]}));
    }
    json!({"text": escaped(&message.title), "blocks": blocks, "unfurl_links": false})
}

/// A text in which nothing is a link, a mention or a mark-up.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // A character of no width keeps them from making bold, code or struck text.
            '*' | '_' | '~' | '`' => escaped.extend(['\u{200b}', sign]),
            sign if sign.is_control() => escaped.push(' '),
            sign => escaped.push(sign),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::Line;
    use writ_model::Timestamp;

    #[test]
    fn a_message_mentions_nobody_and_its_button_only_opens() {
        let message = Message {
            event: "gate-blocked".to_owned(),
            title: "payments-api is blocked <!channel>".to_owned(),
            lines: vec![Line {
                name: "found".to_owned(),
                text: "<@U1> *2 critical* & `x`".to_owned(),
            }],
            link: Some("https://writ.example/changes/1".to_owned()),
            service: "payments-api".to_owned(),
            at: Timestamp::from_micros(0),
        };
        let blocks = blocks(&message);
        let text = blocks["blocks"][1]["text"]["text"].as_str().unwrap();
        assert!(
            text.contains("&lt;@U1&gt; \u{200b}*2 critical\u{200b}* &amp;"),
            "{text}"
        );
        assert!(!blocks["text"].as_str().unwrap().contains('<'));
        // A heading is plain text: nothing in it is interpreted.
        assert_eq!(blocks["blocks"][0]["text"]["type"], "plain_text");
        let button = &blocks["blocks"][2]["elements"][0];
        assert_eq!(button["url"], "https://writ.example/changes/1");
        assert!(button.get("action_id").is_none() && button.get("value").is_none());
    }

    #[test]
    fn errors_name_the_host_and_not_the_secret() {
        let at = |address: &str| Slack::new(&Secret::new(address.to_owned()).unwrap());
        let slack = at("http://127.0.0.1:9/services/T0/B0/geheim").unwrap();
        assert!(!format!("{slack:?}").contains("geheim"));
        let error = at("ftp://hooks.example/services/geheim").unwrap_err();
        assert!(!error.to_string().contains("geheim"), "{error}");
        assert!(at("https://hooks.example").is_err());
    }
}
