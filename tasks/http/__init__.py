"""HTTP doors of the platform. Thin: each operation is one call of a service."""
