"""What a visitor may do, and what their forms carry."""

from __future__ import annotations

from datakit_ci.acl import Identity, Rights, Role, Rules, Scope, everyone, username
from datakit_ci.dashboard.visitor import Visitor, is_csrf

RULES = Rules(
    Rights(read=everyone),
    {
        "me/app": Rights(read=everyone, build=username("ann")),
        "me/secret": Rights(read=username("ann")),
    },
)
ANN = Visitor(Identity("ann"), rules=lambda: RULES)


def test_a_visitor_may_do_what_the_rules_say() -> None:
    assert ANN.may(Role.BUILD, "me/app")
    assert not ANN.may(Role.BUILD, "me/secret")
    assert ANN.may(Role.BUILD)
    assert not ANN.may(Role.ADMIN)
    assert ANN.reads("me/secret")
    stranger = Visitor(rules=lambda: RULES)
    assert stranger.reads("me/app")
    assert not stranger.reads("me/secret")
    assert not stranger.reads("no/such")


def test_a_token_is_good_for_no_more_than_its_scope_and_its_user() -> None:
    reading = Visitor(Identity("ann"), rules=lambda: RULES, scope=Scope(Role.READ))
    assert reading.role_in("me/app") is Role.READ
    one = Visitor(
        Identity("ann"), rules=lambda: RULES, scope=Scope(Role.ADMIN, frozenset({"me/secret"}))
    )
    assert one.role_in("me/app") is Role.NONE
    assert one.role_in("me/secret") is Role.READ
    assert one.best_role is Role.READ
    none = Visitor(Identity("ann"), rules=lambda: RULES, scope=Scope(Role.ADMIN, frozenset()))
    assert none.best_role is Role.NONE


def test_rules_that_change_count_at_once() -> None:
    rules = RULES
    visitor = Visitor(Identity("ann"), rules=lambda: rules)
    assert visitor.reads("me/secret")
    rules = Rules()
    assert not visitor.reads("me/secret")


def test_forms_belong_to_one_cookie_and_do_not_give_it_away() -> None:
    one, other = Visitor(cookie="a" * 43), Visitor(cookie="b" * 43)
    assert is_csrf(one, one.csrf)
    assert not is_csrf(one, other.csrf)
    assert not is_csrf(one, "")
    assert not is_csrf(one, "\udce4")
    assert "a" * 43 not in one.csrf + repr(one)


def test_who_has_no_cookie_has_no_form() -> None:
    assert not is_csrf(Visitor(), "")
    assert not is_csrf(Visitor(), Visitor().csrf)
