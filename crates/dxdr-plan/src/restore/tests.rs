mod planning;
mod properties;
mod transformation;
mod world;
