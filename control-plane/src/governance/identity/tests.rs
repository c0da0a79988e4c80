use super::*;

fn identity(role: Role, subject: &str) -> Identity {
    Identity {
        name: Arc::from("alice"),
        role,
        subject: Arc::from(subject),
        proof: Proof::Certificate,
    }
}

const ACTIONS: [Action<'static>; 12] = [
    Action::ReadAll,
    Action::ReadTraces,
    Action::ReadAudit,
    Action::ChangeProfile,
    Action::ChangeWeights,
    Action::OrderNode,
    Action::RemoveBackend,
    Action::ChangeJobs,
    Action::ManageTokens,
    Action::SyncAs("edge-1"),
    Action::WorkAs("edge-1"),
    Action::RegisterFor("web"),
];

#[test]
fn each_role_may_do_what_the_table_says() {
    //            read traces audit profile weights order remove jobs tokens sync work register
    let table = [
        (Role::Viewer, "", "yy----------"),
        (Role::Operator, "", "yyyyyyyy----"),
        (Role::Admin, "", "yyyyyyyyy---"),
        (Role::Node, "", "-y-------yyy"),
        (Role::Node, "edge-1", "-y-------yyy"),
        (Role::Node, "edge-2", "-y---------y"),
        (Role::Node, "edge-*", "-y-------yyy"),
        (Role::Node, "core-*", "-y---------y"),
        (Role::Backend, "", "-----------y"),
        (Role::Backend, "web", "-----------y"),
        (Role::Backend, "api", "------------"),
        (Role::Local, "", "yyyyyyyyyyyy"),
    ];
    for (role, subject, expected) in table {
        let identity = identity(role, subject);
        let may = ACTIONS.map(|action| {
            if identity.may(&action).is_ok() {
                'y'
            } else {
                '-'
            }
        });
        assert_eq!(String::from_iter(may), expected, "{role} of `{subject}`");
    }
}

#[test]
fn a_denial_says_who_may() {
    let denied = identity(Role::Viewer, "").may(&Action::ChangeWeights);
    assert_eq!(
        denied.unwrap_err().to_string(),
        "`alice` is viewer and may not change weights; that takes operator or admin"
    );
    let denied = identity(Role::Node, "edge-1").may(&Action::SyncAs("edge-2"));
    assert_eq!(
        denied.unwrap_err().to_string(),
        "`alice` is node of `edge-1` only and may not sync as node `edge-2`"
    );
}

#[test]
fn a_proven_name_beats_a_claimed_one() {
    let proven = identity(Role::Admin, "").actor("mallory");
    assert_eq!((&*proven.author, proven.role), ("alice", Role::Admin));
    let claimed = Identity::local().actor(" bob\n");
    assert_eq!((&*claimed.author, claimed.role), ("bob", Role::Local));
    assert_eq!(Identity::local().actor("").author, "local");
}

#[test]
fn roles_go_over_the_wire_and_back() {
    for role in Role::GIVEN {
        assert_eq!(Role::of_wire(role.to_wire() as i32), Some(role));
        assert_eq!(Role::given(role.as_text()), Some(role));
    }
    assert_eq!(Role::of_wire(Role::Local.to_wire() as i32), None);
    assert_eq!(Role::of_wire(99), None);
    assert_eq!(Role::given("local"), None);
}

#[test]
fn only_what_a_token_proves_is_counted_for_a_token() {
    let hash = TokenHash::of(&format!("weir_{}", "0".repeat(64))).unwrap();
    let by_token = Identity {
        proof: Proof::Token(hash),
        ..identity(Role::Node, "edge-*")
    };
    assert_eq!(by_token.token(), "alice");
    assert_eq!(identity(Role::Node, "edge-1").token(), "");
    assert_eq!(Identity::local().token(), "");
}
