mod copies;
mod planning;
mod properties;
mod transformation;
mod volumes;
mod world;
