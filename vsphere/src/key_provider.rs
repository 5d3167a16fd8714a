//! Whether keys could be had today: what the key providers say of them.

use engine::Kind;

use crate::{
    calls,
    recovery::{KeyAnswer, KeyState},
    session::Session,
    soap::{CallError, Element, FaultClass},
    vm_home::KmsKey,
};

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
    let id = Element::new("keyIds").with_text("keyId", key.id.as_str()).with_all(provider);
    // One bit: whether the key is available. Others cost questions to every host.
    let params = [id, Element::text_of("checkKeyBitMap", "1")];
    let Some(answer) = answered(session.call(calls::QUERY_CRYPTO_KEY_STATUS, manager, &params))? else {
        return Ok(None);
    };
    let of_key = answer.values().find(|status| status.text_at("keyId.keyId") == Some(key.id.as_str()));
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

/// What is known of a key, weighed. A key without a provider's name belongs to whom the server takes for the default.
pub fn key_state(providers: &[KeyProvider], key: &KmsKey, status: Option<&KeyStatus>) -> KeyState {
    let listed: Vec<String> = providers.iter().map(|provider| provider.id.clone()).collect();
    let own = providers.iter().find(|provider| match &key.provider {
        Some(id) => provider.id == *id,
        None => provider.is_default,
    });
    let answer = status.map_or(KeyAnswer::None, |status| KeyAnswer::Status {
        available: status.is_available,
        reason: status.reason.as_deref(),
    });
    KeyState::judge(key, &listed, own.and_then(|provider| provider.is_active), answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{soap::test_server::Reply, test_session::session};

    fn provider(id: &str, is_active: Option<bool>) -> KeyProvider {
        KeyProvider { id: id.to_owned(), is_default: id == "kms-a", management: None, is_active }
    }

    fn key(provider: &str) -> KmsKey {
        KmsKey::new("0b1f", Some(provider))
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
            (yes, said(no, "keyStateMissingInKMS"), KeyState::Lost),
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
        assert_eq!(key_state(&[], &key("kms-a"), usable.as_ref()), KeyState::None);
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
