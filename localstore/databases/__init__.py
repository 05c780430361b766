"""Storages that keep sessions in a database, for sessions that several machines share.

from localstore.databases.sql import PostgresStorage, SqliteStorage, SqlStorage
from localstore.databases.mongo import MongoDbStorage
"""
