//! Where credentials come from. They are never written down, logged or shown.

use std::fmt;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AwsCredential, AwsCredentialProvider};
use serde::Deserialize;

use super::{S3Config, S3Error, S3ErrorKind};

/// Largest credentials file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Where credentials come from. No secret stands in a configuration.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "source", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Credentials {
    /// As Amazon's tools do in a container or machine: `AWS_ACCESS_KEY_ID` and its companions, a web
    /// identity token (Kubernetes), the container's credentials, the machine's role.
    Chain {},
    /// Environment variables of these names.
    Environment {
        /// The variable that holds the access key's id.
        access_key_id: String,
        /// The variable that holds the secret key.
        secret_access_key: String,
        /// The variable that holds the session token.
        #[serde(default)]
        session_token: Option<String>,
    },
    /// A file as Amazon's command line keeps it (`[profile]`, then `aws_access_key_id = …`). It is
    /// read for every request, so that rotated keys count at once.
    File {
        /// The file.
        path: PathBuf,
        /// The section. Default: `default`.
        #[serde(default = "default_profile")]
        profile: String,
    },
    /// Keys that the program has already, such as from Vault.
    #[serde(skip)]
    Static {
        /// The access key's id.
        access_key_id: String,
        /// The secret key.
        secret_access_key: String,
        /// The session token.
        session_token: Option<String>,
    },
}

fn default_profile() -> String {
    "default".to_owned()
}

impl Default for Credentials {
    fn default() -> Self {
        Self::Chain {}
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain {} => f.write_str("Chain"),
            Self::Environment { access_key_id, .. } => {
                write!(f, "Environment({access_key_id}, …)")
            }
            Self::File { path, profile } => write!(f, "File({}, {profile})", path.display()),
            Self::Static { .. } => f.write_str("Static(…)"),
        }
    }
}

/// Gives the credentials of the moment.
pub(super) enum Source {
    Fixed(Arc<AwsCredential>),
    File { path: PathBuf, profile: String },
    Provider(AwsCredentialProvider),
}

impl Source {
    pub(super) fn open(config: &S3Config) -> Result<Self, S3Error> {
        match &config.credentials {
            Credentials::Chain {} => {
                let store = AmazonS3Builder::from_env()
                    .with_bucket_name(&config.bucket)
                    .with_region(&config.region)
                    .build()
                    .map_err(|error| {
                        S3Error::config(format!(
                            "the environment's AWS settings are no use: {error}"
                        ))
                    })?;
                Ok(Self::Provider(Arc::clone(store.credentials())))
            }
            Credentials::Environment {
                access_key_id,
                secret_access_key,
                session_token,
            } => {
                let read = |name: &String| {
                    std::env::var(name)
                        .map_err(|_| missing(format!("the environment variable {name} is not set")))
                };
                Self::fixed(
                    &read(access_key_id)?,
                    &read(secret_access_key)?,
                    session_token.as_ref().map(read).transpose()?.as_deref(),
                )
            }
            Credentials::File { path, profile } => {
                let source = Self::File {
                    path: path.clone(),
                    profile: profile.clone(),
                };
                source.read_file()?;
                Ok(source)
            }
            Credentials::Static {
                access_key_id,
                secret_access_key,
                session_token,
            } => Self::fixed(access_key_id, secret_access_key, session_token.as_deref()),
        }
    }

    fn fixed(id: &str, secret: &str, token: Option<&str>) -> Result<Self, S3Error> {
        Ok(Self::Fixed(Arc::new(checked(id, secret, token)?)))
    }

    pub(super) async fn get(&self) -> Result<Arc<AwsCredential>, S3Error> {
        match self {
            Self::Fixed(credential) => Ok(Arc::clone(credential)),
            Self::File { .. } => self.read_file().map(Arc::new),
            Self::Provider(provider) => {
                let credential = provider.get_credential().await.map_err(|error| {
                    missing(format!(
                        "no credentials in the environment, the web identity, the container or the machine's role: {}",
                        super::said(&error.to_string())
                    ))
                })?;
                // What a metadata service said goes into headers: it must fit there.
                checked(
                    &credential.key_id,
                    &credential.secret_key,
                    credential.token.as_deref(),
                )?;
                Ok(credential)
            }
        }
    }

    fn read_file(&self) -> Result<AwsCredential, S3Error> {
        let Self::File { path, profile } = self else {
            return Err(missing("there is no credentials file"));
        };
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE).read_to_string(&mut text))
            .map_err(|error| missing(format!("{} cannot be read: {error}", path.display())))?;
        let mut section = None;
        let (mut id, mut secret, mut token) = (None, None, None);
        for line in text.lines().map(str::trim) {
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                section = Some(name.trim());
            } else if section == Some(profile.as_str())
                && !line.starts_with(['#', ';'])
                && let Some((key, value)) = line.split_once('=')
            {
                match key.trim() {
                    "aws_access_key_id" => id = Some(value.trim()),
                    "aws_secret_access_key" => secret = Some(value.trim()),
                    "aws_session_token" => token = Some(value.trim()),
                    _ => {}
                }
            }
        }
        match (id, secret) {
            (Some(id), Some(secret)) => checked(id, secret, token),
            _ => Err(missing(format!(
                "{} has no section [{profile}] with aws_access_key_id and aws_secret_access_key",
                path.display()
            ))),
        }
    }
}

/// Keys that can stand in a header.
fn checked(id: &str, secret: &str, token: Option<&str>) -> Result<AwsCredential, S3Error> {
    let (id, secret, token) = (id.trim(), secret.trim(), token.map(str::trim));
    let good = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !good(id) || !good(secret) || !token.is_none_or(good) {
        return Err(missing(
            "an access key, its secret or its token is empty or has characters that keys never have",
        ));
    }
    Ok(AwsCredential {
        key_id: id.to_owned(),
        secret_key: secret.to_owned(),
        token: token.map(str::to_owned),
    })
}

fn missing(cause: impl Into<String>) -> S3Error {
    S3Error::new(S3ErrorKind::Credentials, "open", "the bucket", cause)
}
