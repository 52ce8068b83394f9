//! What has to hold before a value can be encoded. Never touches bytes: a packet that passes is written without
//! another look.

use crate::wire::{MAX_BINARY, has_null};
use crate::{EncodeError, Field, List, Property, UserProperty};

/// Bytes behind a two-byte length.
pub(crate) fn binary(field: Field, value: &[u8]) -> Result<(), EncodeError> {
    if value.len() > MAX_BINARY { Err(EncodeError::TooLong(field)) } else { Ok(()) }
}

/// A UTF-8 Encoded String.
pub(crate) fn string(field: Field, value: &str) -> Result<(), EncodeError> {
    binary(field, value.as_bytes())?;
    // [MQTT-1.5.4-2], [MQTT-1.5.3-2 of 3.1.1]
    if has_null(value.as_bytes()) { Err(EncodeError::NullCharacter(field)) } else { Ok(()) }
}

pub(crate) fn binary_property(property: Property, value: Option<&[u8]>) -> Result<(), EncodeError> {
    value.map_or(Ok(()), |value| binary(Field::Property(property), value))
}

pub(crate) fn string_property(property: Property, value: Option<&str>) -> Result<(), EncodeError> {
    value.map_or(Ok(()), |value| string(Field::Property(property), value))
}

/// Names and values [MQTT-1.5.7-1]; those that came in a packet were checked there.
pub(crate) fn user_properties(list: &List<'_, UserProperty<'_>>) -> Result<(), EncodeError> {
    let field = Field::Property(Property::UserProperty);
    for (name, value) in list.unchecked() {
        string(field, name)?;
        string(field, value)?;
    }
    Ok(())
}

/// What the answers of one form share.
pub(crate) fn reason_properties(
    reason_string: Option<&str>,
    list: &List<'_, UserProperty<'_>>,
) -> Result<(), EncodeError> {
    string_property(Property::ReasonString, reason_string)?;
    user_properties(list)
}

/// Authentication Data has no meaning without the method (§ 3.1.2.11.10, § 3.2.2.3.18).
pub(crate) fn authentication(method: Option<&str>, data: Option<&[u8]>) -> Result<(), EncodeError> {
    string_property(Property::AuthenticationMethod, method)?;
    binary_property(Property::AuthenticationData, data)
}
