"""The command line of localstore; installed as the package `localstore_cli`. The library never imports it."""
