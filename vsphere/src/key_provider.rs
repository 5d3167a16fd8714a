//! Whether keys could be had today: what the key providers say of them.

use engine::Kind;

use crate::{
    calls,
    session::Session,
    soap::{CallError, Element, FaultClass},
    vm_disk::KmsKey,
};

/// Whether a key could be had today.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Yes.
    Usable,
    /// Nobody can say.
    Unsure,
    /// The provider is there and does not have it.
    Lost,
    /// The provider cannot be reached.
    Down,
    /// The provider is none of those that this vCenter knows.
    Stranger,
    /// This vCenter knows no provider at all.
    NoProvider,
}

/// A key provider, as a vCenter lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyProvider {
    /// Its id: the cluster name that keys refer to.
    pub id: String,
    /// Whether new keys are made by it.
    pub is_default: bool,
    /// `vCenter`, `nativeProvider`, `trustAuthority`, if the server says it.
    pub management: Option<String>,
    /// Whether it can be reached; `None` if the server cannot say.
    pub is_active: Option<bool>,
}

/// What the status of a key is, where the server can say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// Whether it can be had; not always said.
    pub is_available: Option<bool>,
    /// Why not.
    pub reason: Option<String>,
}

/// All key providers of a vCenter, and whether each can be reached.
///
/// A server without key management has none. A right that is missing is an error: it must not look like "no provider".
pub fn key_providers(session: &Session) -> Result<Vec<KeyProvider>, CallError> {
    let Some(manager) = &session.content().crypto_manager else { return Ok(Vec::new()) };
    let answer = session.call(calls::LIST_KMIP_SERVERS, manager, &[])?;
    let mut providers = Vec::new();
    for cluster in answer.values() {
        let Some(id) = cluster.text_at("clusterId.id") else { continue };
        let params = [Element::new("cluster").with_text("id", id)];
        let is_active = answered(session.call(calls::IS_KMS_CLUSTER_ACTIVE, manager, &params))?
            .and_then(|answer| answer.value().and_then(|value| flag(value.text())));
        providers.push(KeyProvider {
            id: id.to_owned(),
            is_default: cluster.flag_at("useAsDefault").unwrap_or_default(),
            management: cluster.text_at("managementType").filter(|text| !text.is_empty()).map(str::to_owned),
            is_active,
        });
    }
    Ok(providers)
}

/// The state of each key, in the order asked for.
pub fn key_states(session: &Session, providers: &[KeyProvider], keys: &[KmsKey]) -> Result<Vec<KeyState>, CallError> {
    keys.iter().map(|key| Ok(key_state(providers, key, key_status(session, key)?.as_ref()))).collect()
}

/// What the server says of a key; `None` if it cannot say anything.
pub fn key_status(session: &Session, key: &KmsKey) -> Result<Option<KeyStatus>, CallError> {
    let Some(manager) = &session.content().crypto_manager else { return Ok(None) };
    let provider = key.provider.iter().map(|id| Element::new("providerId").with_text("id", id.as_str()));
    let id = Element::new("keyIds").with_text("keyId", key.key_id.as_str()).with_all(provider);
    // One bit: whether the key is available. Others cost questions to every host.
    let params = [id, Element::text_of("checkKeyBitMap", "1")];
    let Some(answer) = answered(session.call(calls::QUERY_CRYPTO_KEY_STATUS, manager, &params))? else {
        return Ok(None);
    };
    let of_key = answer.values().find(|status| status.text_at("keyId.keyId") == Some(key.key_id.as_str()));
    Ok(of_key.map(|status| KeyStatus {
        is_available: status.flag_at("keyAvailable"),
        reason: status.text_at("reason").filter(|text| !text.is_empty()).map(str::to_owned),
    }))
}

/// A server that does not know the call, or does not let this user make it, says nothing about the key.
fn answered<T>(result: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match result {
        Ok(answer) => Ok(Some(answer)),
        Err(error) => match error.class() {
            Some(FaultClass::NotAuthenticated) | None => Err(error),
            Some(class) if class.kind() == Kind::Unavailable => Err(error),
            Some(_) => Ok(None),
        },
    }
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// What is known of a key, weighed.
///
/// | state | by what |
/// |---|---|
/// | no provider, stranger | the list |
/// | down | the provider, or `KeyStateClusterUnreachable` |
/// | lost | `KeyStateMissingInKMS`, `KeyStateNotActiveOrEnabled`, or no reason while the provider is active |
/// | usable | `keyAvailable`, and the provider is not inactive |
/// | unsure | all else |
pub fn key_state(providers: &[KeyProvider], key: &KmsKey, status: Option<&KeyStatus>) -> KeyState {
    if providers.is_empty() {
        return KeyState::NoProvider;
    }
    let provider = match &key.provider {
        Some(id) => match providers.iter().find(|provider| provider.id == *id) {
            Some(provider) => Some(provider),
            None => return KeyState::Stranger,
        },
        // A key without a provider's name belongs to whom the server takes for the default.
        None => providers.iter().find(|provider| provider.is_default),
    };
    let is_active = provider.and_then(|provider| provider.is_active);
    if is_active == Some(false) {
        return KeyState::Down;
    }
    let Some(status) = status else { return KeyState::Unsure };
    if status.is_available == Some(true) {
        return KeyState::Usable;
    }
    match status.reason.as_deref() {
        Some("KeyStateMissingInKMS" | "KeyStateNotActiveOrEnabled") => KeyState::Lost,
        Some("KeyStateClusterUnreachable") => KeyState::Down,
        Some("KeyStateClusterInvalid") => KeyState::Stranger,
        Some(_) => KeyState::Unsure,
        None if status.is_available == Some(false) && is_active == Some(true) => KeyState::Lost,
        None => KeyState::Unsure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{soap::test_server::Reply, test_session::session};

    fn provider(id: &str, is_active: Option<bool>) -> KeyProvider {
        KeyProvider { id: id.to_owned(), is_default: id == "kms-a", management: None, is_active }
    }

    fn key(provider: &str) -> KmsKey {
        KmsKey { key_id: "0b1f".to_owned(), provider: Some(provider.to_owned()) }
    }

    #[test]
    fn each_row_of_the_table_has_its_state() {
        let said = |is_available: Option<bool>, reason: &str| {
            let reason = (!reason.is_empty()).then(|| reason.to_owned());
            Some(KeyStatus { is_available, reason })
        };
        let (yes, no) = (Some(true), Some(false));
        for (is_active, status, state) in [
            (yes, said(yes, ""), KeyState::Usable),
            (None, said(yes, ""), KeyState::Usable),
            (no, said(yes, ""), KeyState::Down),
            (yes, None, KeyState::Unsure),
            (None, None, KeyState::Unsure),
            (no, None, KeyState::Down),
            (yes, said(no, "KeyStateMissingInCache"), KeyState::Unsure),
            (yes, said(no, "KeyStateManagedByTrustAuthority"), KeyState::Unsure),
            (yes, said(no, "KeyStateMissingInKMS"), KeyState::Lost),
            (None, said(no, "KeyStateNotActiveOrEnabled"), KeyState::Lost),
            (yes, said(no, ""), KeyState::Lost),
            (None, said(no, ""), KeyState::Unsure),
            (yes, said(no, "KeyStateClusterUnreachable"), KeyState::Down),
            (yes, said(no, "KeyStateClusterInvalid"), KeyState::Stranger),
            (yes, said(no, "KeyStateSomethingNew"), KeyState::Unsure),
            (yes, said(None, ""), KeyState::Unsure),
        ] {
            let found = key_state(&[provider("kms-a", is_active)], &key("kms-a"), status.as_ref());
            assert_eq!(found, state, "{is_active:?} {status:?}");
        }
        let usable = said(yes, "");
        assert_eq!(key_state(&[], &key("kms-a"), usable.as_ref()), KeyState::NoProvider);
        assert_eq!(key_state(&[provider("kms-b", yes)], &key("kms-a"), usable.as_ref()), KeyState::Stranger);
    }

    #[test]
    fn a_server_too_old_to_say_leaves_it_unsure() {
        let (_server, session) = session(|call, _, _| match call {
            "ListKmipServers" => Reply::response(
                call,
                "<returnval><clusterId><id>kms-a</id></clusterId><useAsDefault>true</useAsDefault></returnval>",
            ),
            _ => Reply::fault("MethodNotFound", "no such method"),
        });
        let providers = key_providers(&session).unwrap();
        assert_eq!(providers, [provider("kms-a", None)]);
        assert_eq!(key_states(&session, &providers, &[key("kms-a")]).unwrap(), [KeyState::Unsure]);
    }

    #[test]
    fn a_missing_right_does_not_look_like_no_provider() {
        let (_server, session) = session(|_, _, _| Reply::fault("NoPermission", "no"));
        assert!(matches!(key_providers(&session).unwrap_err().class(), Some(FaultClass::NoPermission { .. })));
    }

    #[test]
    fn key_id_and_provider_are_not_swapped() {
        let (server, session) = session(|call, _, _| {
            Reply::response(
                call,
                "<returnval><keyId><keyId>0b1f</keyId><providerId><id>kms-a</id></providerId></keyId>\
                 <keyAvailable>true</keyAvailable></returnval>",
            )
        });
        let status = key_status(&session, &key("kms-a")).unwrap().unwrap();
        assert_eq!(status, KeyStatus { is_available: Some(true), reason: None });
        let said = "<keyIds><keyId>0b1f</keyId><providerId><id>kms-a</id></providerId></keyIds><checkKeyBitMap>1<";
        assert!(server.seen().last().unwrap().text().contains(said));
    }
}
