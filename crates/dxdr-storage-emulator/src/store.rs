//! Buckets with their objects, and everything that is done to them. Each call is one atomic step.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    bucket::{Bucket, Held},
    condition::Conditions,
    content::Content,
    failure::Failure,
    identity::{Caller, Permission},
    listing::{self, Listing},
    object::{Description, Object},
    protection::Protection,
    session::Sessions,
};

/// Most objects that one request composes.
const MOST_COMPONENTS: usize = 32;

pub(crate) struct Store {
    buckets: BTreeMap<String, Shelf>,
    pub(crate) sessions: Sessions,
    last_generation: i64,
    md5: bool,
}

struct Shelf {
    bucket: Held,
    objects: BTreeMap<String, Object>,
}

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) bucket: String,
    pub(crate) object: String,
}

impl Place {
    fn missing(&self) -> Failure {
        Failure::no_object(&self.bucket, &self.object)
    }
}

/// One of the objects that are composed.
#[derive(Debug, Clone)]
pub(crate) struct Component {
    pub(crate) name: String,
    pub(crate) generation: Option<i64>,
    pub(crate) generation_match: Option<i64>,
}

impl Store {
    pub(crate) fn new(md5: bool) -> Self {
        Self { buckets: BTreeMap::new(), sessions: Sessions::default(), last_generation: 0, md5 }
    }

    fn shelf(&self, bucket: &str) -> Result<&Shelf, Failure> {
        self.buckets.get(bucket).ok_or_else(Failure::no_bucket)
    }

    fn shelf_mut(&mut self, bucket: &str) -> Result<&mut Shelf, Failure> {
        self.buckets.get_mut(bucket).ok_or_else(Failure::no_bucket)
    }

    pub(crate) fn configure_bucket(&mut self, name: &str, settings: Bucket, now: Timestamp) {
        match self.buckets.get_mut(name) {
            Some(shelf) => shelf.bucket.configure(settings, now),
            None => {
                let shelf = Shelf { bucket: Held::new(settings, now), objects: BTreeMap::new() };
                self.buckets.insert(name.to_owned(), shelf);
            }
        }
    }

    pub(crate) fn create_bucket(&mut self, name: &str, settings: Bucket, now: Timestamp) -> Result<(), Failure> {
        if self.buckets.contains_key(name) {
            return Err(Failure::new(
                409,
                "conflict",
                "Your previous request to create the named bucket succeeded and you already own it.",
            ));
        }
        self.configure_bucket(name, settings, now);
        Ok(())
    }

    pub(crate) fn bucket(&self, name: &str) -> Result<&Held, Failure> {
        self.shelf(name).map(|shelf| &shelf.bucket)
    }

    pub(crate) fn bucket_mut(&mut self, name: &str) -> Result<&mut Held, Failure> {
        self.shelf_mut(name).map(|shelf| &mut shelf.bucket)
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = (&str, &Held)> {
        self.buckets.iter().map(|(name, shelf)| (name.as_str(), &shelf.bucket))
    }

    pub(crate) fn delete_bucket(&mut self, name: &str) -> Result<(), Failure> {
        if !self.shelf(name)?.objects.is_empty() {
            return Err(Failure::new(409, "conflict", "The bucket you tried to delete is not empty."));
        }
        self.buckets.remove(name);
        Ok(())
    }

    pub(crate) fn names(&self, bucket: &str) -> Vec<String> {
        self.buckets.get(bucket).map(|shelf| shelf.objects.keys().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn damage(&mut self, bucket: &str, object: &str, position: u64) -> bool {
        let found = self.buckets.get_mut(bucket).and_then(|shelf| shelf.objects.get_mut(object));
        found.is_some_and(|object| object.content.damage(position))
    }

    /// Microseconds since 1970, and never one twice.
    fn next_generation(&mut self, now: Timestamp) -> i64 {
        self.last_generation = now.as_microsecond().max(self.last_generation + 1);
        self.last_generation
    }

    /// The live object, as JSON.
    pub(crate) fn json(&self, place: &Place, base: &str) -> Result<Value, Failure> {
        let shelf = self.shelf(&place.bucket)?;
        let object = shelf.objects.get(&place.object).ok_or_else(|| place.missing())?;
        Ok(shelf.json(place, object, base))
    }

    /// The live object, if it is of this generation and the conditions hold.
    pub(crate) fn read(&self, place: &Place, generation: Option<i64>, conditions: &Conditions) -> Result<&Object, Failure> {
        let object = self.shelf(&place.bucket)?.objects.get(&place.object);
        let object = object.filter(|object| generation.is_none_or(|wanted| wanted == object.generation));
        let object = object.ok_or_else(|| place.missing())?;
        conditions.check_read(Some(object.versions()))?;
        Ok(object)
    }

    /// Whether an object could be written now. Sessions ask this when they begin, and again when they end.
    pub(crate) fn may_insert(
        &self,
        place: &Place,
        conditions: &Conditions,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(), Failure> {
        caller.may(Permission::Create)?;
        let shelf = self.shelf(&place.bucket)?;
        let live = shelf.objects.get(&place.object);
        conditions.check(live.map(Object::versions))?;
        if let Some(live) = live {
            caller.may(Permission::Delete)?;
            shelf.check_protection(place, live, now)?;
        }
        Ok(())
    }

    pub(crate) fn insert(
        &mut self,
        place: &Place,
        description: Description,
        content: Content,
        conditions: &Conditions,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(), Failure> {
        if place.object.is_empty() || place.object.len() > 1024 || place.object.contains(['\r', '\n']) {
            return Err(Failure::invalid(format!("Invalid object name: '{}'", place.object)));
        }
        self.may_insert(place, conditions, caller, now)?;
        description.expected.check(&content)?;
        let md5 = self.md5.then(|| content.md5());
        self.keep(place, description, content, md5, None, now)
    }

    fn keep(
        &mut self,
        place: &Place,
        description: Description,
        content: Content,
        md5: Option<[u8; 16]>,
        components: Option<u64>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let generation = self.next_generation(now);
        let shelf = self.shelf_mut(&place.bucket)?;
        let settings = &shelf.bucket.settings;
        let event_based_hold = description.event_based_hold.unwrap_or(settings.default_event_based_hold);
        let object = Object {
            crc32c: content.crc32c(),
            md5,
            content,
            generation,
            metageneration: 1,
            created: now,
            updated: now,
            texts: description.texts,
            metadata: description.metadata,
            protection: Protection::new(description.temporary_hold, event_based_hold),
            kms_key: description.kms_key.or_else(|| settings.default_kms_key.clone()),
            components,
        };
        shelf.objects.insert(place.object.clone(), object);
        Ok(())
    }

    pub(crate) fn delete(
        &mut self,
        place: &Place,
        generation: Option<i64>,
        conditions: &Conditions,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let shelf = self.shelf_mut(&place.bucket)?;
        let live = shelf.objects.get(&place.object);
        let live =
            live.filter(|live| generation.is_none_or(|wanted| wanted == live.generation)).ok_or_else(|| place.missing())?;
        conditions.check(Some(live.versions()))?;
        shelf.check_protection(place, live, now)?;
        shelf.objects.remove(&place.object);
        Ok(())
    }

    pub(crate) fn patch(
        &mut self,
        place: &Place,
        conditions: &Conditions,
        change: &Value,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let shelf = self.shelf_mut(&place.bucket)?;
        let object = shelf.objects.get_mut(&place.object).ok_or_else(|| place.missing())?;
        conditions.check(Some(object.versions()))?;
        object.patch(change, now);
        Ok(())
    }

    pub(crate) fn compose(
        &mut self,
        place: &Place,
        description: Description,
        components: &[Component],
        conditions: &Conditions,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(), Failure> {
        if components.is_empty() || components.len() > MOST_COMPONENTS {
            return Err(Failure::invalid(format!("The number of source components must be between 1 and {MOST_COMPONENTS}.")));
        }
        self.may_insert(place, conditions, caller, now)?;
        let (mut content, mut count) = (Content::default(), 0);
        for component in components {
            let source = Place { bucket: place.bucket.clone(), object: component.name.clone() };
            let object = self.read(&source, component.generation, &Conditions::generation(component.generation_match))?;
            content.append(&object.content);
            count += object.components.unwrap_or(1);
        }
        description.expected.check(&content)?;
        self.keep(place, description, content, None, Some(count), now)
    }

    pub(crate) fn list(&self, bucket: &str, listing: &Listing, base: &str) -> Result<Listed, Failure> {
        let shelf = self.shelf(bucket)?;
        let page = listing::page(&shelf.objects, listing);
        let json = |name: &String| {
            let place = Place { bucket: bucket.to_owned(), object: name.clone() };
            shelf.objects.get(name).map(|object| shelf.json(&place, object, base))
        };
        Ok(Listed { items: page.objects.iter().filter_map(json).collect(), prefixes: page.prefixes, next: page.next })
    }
}

/// A page of a listing.
#[derive(Debug)]
pub(crate) struct Listed {
    /// The objects as JSON.
    pub(crate) items: Vec<Value>,
    /// Common prefixes.
    pub(crate) prefixes: Vec<String>,
    /// The token of the next page.
    pub(crate) next: Option<String>,
}

impl Shelf {
    fn check_protection(&self, place: &Place, object: &Object, now: Timestamp) -> Result<(), Failure> {
        let named = (place.bucket.as_str(), place.object.as_str());
        object.protection.check(named, self.bucket.settings.retention, object.created, now)
    }

    fn json(&self, place: &Place, object: &Object, base: &str) -> Value {
        let retained_until = object.protection.retained_until(self.bucket.settings.retention, object.created);
        object.json(&place.bucket, &place.object, base, retained_until)
    }
}
