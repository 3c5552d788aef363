"""gensim Doc2Vec models: `adapter` is what the loop talks to."""
