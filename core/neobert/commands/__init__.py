"""The commands of ``neobert-run``, a module each: ``run(arguments) -> exit status``."""
