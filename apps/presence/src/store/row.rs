//! Rows as what they mean. What somebody else may have written into the tables is looked at like what clients send.

use std::fmt::Display;

use logcontext_db::sqlx;
use logcontext_db::{Error, Row};

use crate::presence::{Entry, Presence, State, StatusMessage};
use crate::profile::{DisplayName, Profile};
use crate::time::Timestamp;
use crate::user::UserId;

/// Of the columns `state`, `status_msg`, `last_active` and `revision`.
pub(super) fn presence(row: &Row) -> Result<Presence, Error> {
    Ok(Presence {
        state: state(row)?,
        status_msg: status_msg(row)?,
        last_active: Timestamp::from_millis(row.get("last_active")?),
        revision: row.get("revision")?,
    })
}

/// Of the columns `id`, `state`, `status_msg` and `at`.
pub(super) fn entry(row: &Row) -> Result<Entry, Error> {
    Ok(Entry {
        id: row.get("id")?,
        state: state(row)?,
        status_msg: status_msg(row)?,
        at: Timestamp::from_millis(row.get("at")?),
    })
}

/// Of the columns `display_name` and `since`.
pub(super) fn profile(row: &Row) -> Result<Profile, Error> {
    let name: Option<String> = row.get("display_name")?;
    let name =
        name.map(|name| DisplayName::try_from(name).map_err(|error| unexpected("display_name", error)));
    Ok(Profile { display_name: name.transpose()?, since: Timestamp::from_millis(row.get("since")?) })
}

pub(super) fn user(row: &Row) -> Result<UserId, Error> {
    user_of(row.get("user_name")?, "user_name")
}

pub(super) fn user_of(text: String, column: &str) -> Result<UserId, Error> {
    text.try_into().map_err(|error| unexpected(column, error))
}

pub(super) fn state(row: &Row) -> Result<State, Error> {
    row.get::<String>("state")?.try_into().map_err(|error| unexpected("state", error))
}

pub(super) fn status_msg(row: &Row) -> Result<Option<StatusMessage>, Error> {
    let text: Option<String> = row.get("status_msg")?;
    text.map(|text| text.try_into().map_err(|error| unexpected("status_msg", error))).transpose()
}

pub(super) fn unexpected(column: &str, error: impl Display) -> Error {
    Error::Database(sqlx::Error::ColumnDecode { index: column.to_owned(), source: error.to_string().into() })
}
