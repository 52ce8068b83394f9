//! Who may come in where a test needs enhanced authentication: the method `test`, which is a question and its answer.

use columba_testkit::ReasonCode;
use columba_testkit::columba::{AuthRequest, Grant, Verdict};

/// Its name.
pub(crate) const METHOD: &str = "test";
/// What the broker asks.
pub(crate) const QUESTION: &str = "question";
/// The client's answer that is right.
pub(crate) const ANSWER: &[u8] = b"answer";
/// The client's answer that brings another round.
pub(crate) const ASK_AGAIN: &[u8] = b"ask again";
/// What the client may begin with to be refused at once.
pub(crate) const REFUSE: &[u8] = b"refuse";
/// The broker's last words to a client that is let in.
pub(crate) const WELCOME: &str = "welcome";

/// Everybody may come in who names no method.
pub(crate) fn verdict(request: &AuthRequest) -> Verdict {
    use columba_testkit::columba::AuthStage;
    let first = request.stage != AuthStage::Continue;
    match (request.method.as_deref(), request.data.as_deref()) {
        (None, _) => Verdict::accept(),
        (Some(METHOD), Some(REFUSE)) => Verdict::reject(ReasonCode::NotAuthorized),
        (Some(METHOD), data) if first || data == Some(ASK_AGAIN) => {
            Verdict::Continue { data: QUESTION.into() }
        }
        (Some(METHOD), Some(ANSWER)) => {
            Verdict::Accept(Grant { data: Some(WELCOME.into()), ..Grant::default() })
        }
        (Some(METHOD), _) => Verdict::reject(ReasonCode::NotAuthorized),
        (Some(_), _) => Verdict::reject(ReasonCode::BadAuthenticationMethod),
    }
}
