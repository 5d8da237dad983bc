//! Typed row ids: `Id<contact::Entity>` never stands in for `Id<nudge::Entity>`.
//!
//! Outside, an id is a TypeID (<https://github.com/jetify-com/typeid>): a prefix that names the type, `_`,
//! and the UUID in 26 digits of Crockford's base 32, so `contact_01h455vb4pex5vsknk084sn02q`.

use std::{cmp, fmt, hash, marker::PhantomData};

use sea_orm::{
    ColIdx, DbErr, QueryResult, TryFromU64, TryGetError, TryGetable, Value,
    sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The id of one row of `T`'s table: a version-7 UUID, so ids sort by creation.
pub struct Id<T>(Uuid, PhantomData<fn() -> T>);

impl<T> Id<T> {
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid, PhantomData)
    }
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Id<T> {}
impl<T> hash::Hash for Id<T> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
/// A table whose ids are shown outside, as TypeIDs.
pub trait Named {
    /// Lower-case letters; part of the public contract, never changed.
    const PREFIX: &'static str;
}

/// Crockford's digits: no `i`, `l`, `o`, `u`.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Shows the TypeID.
impl<T: Named> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::PREFIX)?;
        f.write_str("_")?;
        f.write_str(str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

impl<T> Id<T> {
    /// The 26 digits of the TypeID.
    pub fn digits(self) -> [u8; 26] {
        let mut bits = self.0.as_u128();
        let mut digits = [b'0'; 26];
        for digit in digits.iter_mut().rev() {
            *digit = DIGITS[usize::try_from(bits & 31).unwrap_or_default()];
            bits >>= 5;
        }
        digits
    }
}

/// Reads a TypeID; `None` when the prefix, the length or a digit is not one of `T`'s.
impl<T: Named> Id<T> {
    pub fn parse(text: &str) -> Option<Self> {
        let (prefix, digits) = text.rsplit_once('_')?;
        (prefix == T::PREFIX).then(|| Self::of_digits(digits))?
    }
}

impl<T> Id<T> {
    /// Reads the 26 digits of a TypeID.
    pub fn of_digits(digits: &str) -> Option<Self> {
        if digits.len() != 26 {
            return None;
        }
        let mut bits = 0_u128;
        for (at, digit) in digits.bytes().enumerate() {
            let five = DIGITS.iter().position(|d| *d == digit)?;
            // 26 digits hold 130 bits: the first may only use three of its five.
            if at == 0 && five > 7 {
                return None;
            }
            bits = (bits << 5) | u128::try_from(five).ok()?;
        }
        Some(Self::from_uuid(Uuid::from_u128(bits)))
    }
}
impl<T> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}
impl<'de, T> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Uuid::deserialize(d).map(Self::from_uuid)
    }
}

// sea-orm: an `Id<T>` is stored exactly as its UUID.
impl<T> From<Id<T>> for Value {
    fn from(id: Id<T>) -> Self {
        id.0.into()
    }
}
impl<T> TryGetable for Id<T> {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        Uuid::try_get_by(row, index).map(Self::from_uuid)
    }
}
impl<T> ValueType for Id<T> {
    fn try_from(v: Value) -> Result<Self, ValueTypeErr> {
        <Uuid as ValueType>::try_from(v).map(Self::from_uuid)
    }
    fn type_name() -> String {
        Uuid::type_name()
    }
    fn array_type() -> ArrayType {
        Uuid::array_type()
    }
    fn column_type() -> ColumnType {
        Uuid::column_type()
    }
}
impl<T> Nullable for Id<T> {
    fn null() -> Value {
        Uuid::null()
    }
}
impl<T> TryFromU64 for Id<T> {
    fn try_from_u64(n: u64) -> Result<Self, DbErr> {
        Uuid::try_from_u64(n).map(Self::from_uuid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Row;
    impl Named for Row {
        const PREFIX: &'static str = "row";
    }

    #[test]
    fn a_type_id_is_the_specs_own_example() {
        let id = Id::<Row>::from_uuid("01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap());
        assert_eq!(id.to_string(), "row_01h455vb4pex5vsknk084sn02q");
        assert_eq!(Id::<Row>::parse("row_01h455vb4pex5vsknk084sn02q"), Some(id));
    }

    #[test]
    fn what_is_not_a_type_id_of_this_type_is_refused() {
        for text in [
            "",
            "row",
            "row_",
            "contact_01h455vb4pex5vsknk084sn02q",
            "row_01h455vb4pex5vsknk084sn02",
            "row_01H455VB4PEX5VSKNK084SN02Q",
            "row_81h455vb4pex5vsknk084sn02q",
            "row_01h455vb4pex5vsknk084sn0uq",
            "01890a5d-ac96-774b-bcce-b302099a8057",
        ] {
            assert_eq!(Id::<Row>::parse(text), None, "{text}");
        }
    }
}
