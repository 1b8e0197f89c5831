"""The recovery desk: what is past help, found, understood, repaired and replayed."""
