"""Tables of embeddings as one SQLite file, of which rows are read when they are asked for."""

from structlin.storage.store._store import EmbeddingStore

__all__ = ["EmbeddingStore"]
