//! The words of conditions. They are frozen: alerts and scripts match on them. A word that came from outside is used only when it is one of these.

/// Reasons that a node or a sidecar may give, in the order in which a request fails: the later, the further it came.
const GIVEN: &[&str] = &[
    "ServiceAccountNotListed",
    "VaultNotFound",
    "NotGranted",
    "Revoked",
    "CaveatRefused",
    "NamespaceNotAdmitted",
    "Suspended",
    "PinMissing",
    "SignerNotListed",
    "SignatureInvalid",
    "PeerUnreachable",
    "StaleExceeded",
    "PathMissing",
    "PathUnusable",
    "TemplateError",
    "ReloadFailed",
    "Unsupported",
];

/// Nothing is wrong, and every pod that asks has the version.
pub const ALL_PODS_CURRENT: &str = "AllPodsCurrent";
/// Nothing is wrong, and no pod asks.
pub const NO_PODS: &str = "NoPods";
/// On its way.
pub const ROLLING: &str = "Rolling";
/// No replica answers.
pub const NO_NODES: &str = "NoNodes";
/// A field of the object is not acted on by this version.
pub const UNSUPPORTED: &str = "Unsupported";
/// The object asks to hold pods where they are.
pub const SUSPENDED: &str = "Suspended";
/// A PolykeyPeer outside the namespace of the installation.
pub const WRONG_NAMESPACE: &str = "WrongNamespace";
/// The peer has no connection.
pub const PEER_UNREACHABLE: &str = "PeerUnreachable";

/// The frozen form of a reason that came from a node; `None` for a word that is not one.
#[must_use]
pub fn frozen(reason: &str) -> Option<&'static str> {
    GIVEN.iter().copied().find(|known| *known == reason)
}

/// How far a request came before it failed for that reason.
#[must_use]
pub fn distance(reason: &str) -> usize {
    GIVEN.iter().position(|known| *known == reason).unwrap_or(0)
}

/// True for a reason that is about permission and not about contents.
#[must_use]
pub fn is_refusal(reason: &str) -> bool {
    [
        "ServiceAccountNotListed",
        "VaultNotFound",
        "NotGranted",
        "Revoked",
        "CaveatRefused",
        "NamespaceNotAdmitted",
    ]
    .contains(&reason)
}
