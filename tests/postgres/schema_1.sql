-- The tables as botwire made them with schema version 1.
CREATE SCHEMA botwire;
CREATE TABLE botwire.schema_version (version int4 NOT NULL);
CREATE SEQUENCE botwire.log_id;
CREATE TABLE botwire.entry (
        namespace  text COLLATE "C" NOT NULL,
        key        text COLLATE "C" NOT NULL,
        version    int8 NOT NULL,
        created_at int8 NOT NULL,
        updated_at int8 NOT NULL,
        expires_at int8,
        value      text COLLATE "C" NOT NULL,
        PRIMARY KEY (namespace, key)) WITH (fillfactor = 90);
CREATE TABLE botwire.log (
        namespace  text COLLATE "C" NOT NULL,
        session    text COLLATE "C" NOT NULL,
        agent      text COLLATE "C" NOT NULL,
        id         int8 NOT NULL,
        head       int8 NOT NULL,
        count      int8 NOT NULL,
        created_at int8 NOT NULL,
        updated_at int8 NOT NULL,
        ttl        int8,
        expires_at int8,
        epoch      text COLLATE "C" NOT NULL,
        metadata   text COLLATE "C" NOT NULL,
        PRIMARY KEY (namespace, session, agent)) WITH (fillfactor = 70);
CREATE TABLE botwire.message (
        namespace  text COLLATE "C" NOT NULL,
        log        int8 NOT NULL,
        seq        int8 NOT NULL,
        created_at int8 NOT NULL,
        body       text COLLATE "C" NOT NULL,
        PRIMARY KEY (namespace, log, seq));
CREATE TABLE botwire.request (
        namespace   text COLLATE "C" NOT NULL,
        name        bytea NOT NULL,
        expires_at  int8 NOT NULL,
        fingerprint bytea NOT NULL,
        results     text COLLATE "C" NOT NULL,
        PRIMARY KEY (namespace, name));
CREATE TABLE botwire.meter (
        namespace  text COLLATE "C" NOT NULL,
        name       text COLLATE "C" NOT NULL,
        amount     int8 NOT NULL,
        expires_at int8 NOT NULL,
        PRIMARY KEY (namespace, name));
CREATE TABLE botwire.listener (
        namespace  text COLLATE "C" NOT NULL,
        id         text COLLATE "C" NOT NULL,
        expires_at int8 NOT NULL,
        PRIMARY KEY (namespace, id));
CREATE INDEX entry_expiry ON botwire.entry (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX log_expiry ON botwire.log (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX request_expiry ON botwire.request (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX meter_expiry ON botwire.meter (expires_at) WHERE expires_at IS NOT NULL;
INSERT INTO botwire.schema_version VALUES (1);
