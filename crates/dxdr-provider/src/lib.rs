//! What dxdr needs of the world: a few traits and their errors
