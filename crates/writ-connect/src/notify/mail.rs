//! Mail over SMTP.

use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use super::{Message, NotifyError};
use crate::secret::Secret;

/// Time for one mail.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How the server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TLS from the first byte (`smtps`, port 465).
    Tls,
    /// TLS after STARTTLS, or not at all (`smtp`, port 587).
    StartTls,
    /// Without TLS: only on this machine.
    Plain,
}

/// Where and as whom mail is sent.
#[derive(Debug, Clone)]
pub struct MailOptions {
    /// Host of the server.
    pub host: String,
    /// Its port; the usual one when absent.
    pub port: Option<u16>,
    /// How it is spoken to.
    pub transport: Transport,
    /// Name and password, where it wants them.
    pub credentials: Option<(String, Secret)>,
    /// The sender.
    pub from: String,
    /// To whom.
    pub to: Vec<String>,
}

/// A mail server with a sender and recipients.
#[derive(Debug)]
pub struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
    host: String,
}

impl Mail {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// An address cannot be read, or the server may not be spoken to in this way.
    pub fn new(options: &MailOptions) -> Result<Self, String> {
        let mailbox = |text: &String| {
            text.parse::<Mailbox>()
                .map_err(|error| format!("'{text}' is no mail address: {error}"))
        };
        let host = options.host.as_str();
        let builder = match options.transport {
            Transport::Tls => AsyncSmtpTransport::<Tokio1Executor>::relay(host),
            Transport::StartTls => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host),
            Transport::Plain => {
                let loopback = host == "localhost"
                    || host
                        .parse::<std::net::IpAddr>()
                        .is_ok_and(|ip| ip.is_loopback());
                if !loopback || options.credentials.is_some() {
                    return Err(
                        "mail without TLS goes to a server on this machine only, and without a password"
                            .to_owned(),
                    );
                }
                Ok(AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(
                    host,
                ))
            }
        };
        let mut builder = builder
            .map_err(|error| error.to_string())?
            .timeout(Some(TIMEOUT));
        if let Some(port) = options.port {
            builder = builder.port(port);
        }
        if let Some((name, password)) = &options.credentials {
            let password = password.expose().to_owned();
            builder = builder.credentials(Credentials::new(name.clone(), password));
        }
        let to: Vec<Mailbox> = options.to.iter().map(mailbox).collect::<Result<_, _>>()?;
        if to.is_empty() {
            return Err("mail needs somebody to go to".to_owned());
        }
        Ok(Self {
            transport: builder.build(),
            from: mailbox(&options.from)?,
            to,
            host: options.host.clone(),
        })
    }

    pub(super) async fn send(&self, id: &str, message: &Message) -> Result<String, NotifyError> {
        let mail = self.mail(id, message).map_err(|error| NotifyError {
            reason: format!("the mail cannot be written: {error}"),
            passing: false,
        })?;
        match self.transport.send(mail).await {
            Ok(answer) => Ok(format!("{} answered {}", self.host, answer.code())),
            Err(error) => Err(NotifyError {
                passing: !error.is_permanent(),
                reason: format!("{}: {error}", self.host),
            }),
        }
    }

    fn mail(&self, id: &str, message: &Message) -> Result<lettre::Message, lettre::error::Error> {
        let mut builder: MessageBuilder = lettre::Message::builder()
            .from(self.from.clone())
            .subject(subject(&message.title))
            .message_id(Some(format!("<{id}@writ>")));
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        builder.header(ContentType::TEXT_PLAIN).body(text(message))
    }
}

/// One line, whatever the title holds.
fn subject(title: &str) -> String {
    let line: String = title
        .chars()
        .map(|sign| if sign.is_control() { ' ' } else { sign })
        .take(200)
        .collect();
    format!("[writ] {line}")
}

fn text(message: &Message) -> String {
    let mut text = format!("{}\n\n", message.title);
    for line in &message.lines {
        text.push_str(&format!("{:<9} {}\n", line.name, line.text));
    }
    if let Some(link) = &message.link {
        text.push_str(&format!("\n{link}\n"));
    }
    text.push_str("\nDecisions are made on that page, by somebody who is signed in.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_mail_stays_on_this_machine() {
        let options = |host: &str, credentials| MailOptions {
            host: host.to_owned(),
            port: None,
            transport: Transport::Plain,
            credentials,
            from: "writ@example.org".to_owned(),
            to: vec!["Security <security@example.org>".to_owned()],
        };
        assert!(Mail::new(&options("127.0.0.1", None)).is_ok());
        assert!(Mail::new(&options("mail.example.org", None)).is_err());
        let secret = Secret::new("geheim".to_owned()).unwrap();
        let password = Some(("writ".to_owned(), secret));
        assert!(Mail::new(&options("127.0.0.1", password)).is_err());
    }

    #[test]
    fn no_header_is_smuggled_in() {
        let line = subject("blocked\r\nBcc: everybody@example.org");
        assert!(!line.contains('\r') && !line.contains('\n'), "{line}");
    }
}
