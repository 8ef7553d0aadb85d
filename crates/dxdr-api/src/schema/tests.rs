use super::*;

#[test]
fn a_field_that_may_be_left_out_is_not_a_field_that_may_be_null() {
    for kind in Kind::ALL {
        assert!(!specification(kind).to_string().contains("\"null\""), "{kind:?}");
    }
}

#[test]
fn an_enumeration_lists_its_names_and_explains_them() {
    let tier = &specification(Kind::Environment)["properties"]["tier"];
    assert_eq!(tier["enum"], json!(["production", "non-production"]));
    assert_eq!(
        tier["description"],
        "How much depends on it. `production`: customers depend on it; `non-production`: only those who build the product depend on it."
    );
}

#[test]
fn whatever_is_required_of_a_quantity_an_api_server_can_check() {
    let quota = &specification(Kind::Environment)["properties"]["quota"]["additionalProperties"];
    assert_eq!(quota["x-kubernetes-int-or-string"], true);
}
