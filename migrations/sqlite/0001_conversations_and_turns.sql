-- Agents, conversations, the people in them, sessions, messages, turns and their journals.
-- Ids are UUIDs as lower-case text, which sorts as the bytes do; times are microseconds since 1970.

create table agents (
    id           text    primary key not null,
    name         text    not null,
    instructions text    not null,
    model        text,
    created_at   integer not null,
    updated_at   integer not null
) strict, without rowid;

create table conversations (
    id         text    primary key not null,
    org        text    not null,
    owner      text    not null,
    title      text,
    -- The beginning of the first message from the person: what a listing shows when there is no title.
    preview    text,
    -- The counter that numbers messages: the seq of the newest one, and how many there are.
    last_seq   integer not null default 0 check (last_seq >= 0),
    created_at integer not null,
    updated_at integer not null
) strict, without rowid;

create index conversations_listed on conversations (org, owner, updated_at desc, id desc) where last_seq > 0;

create table participants (
    id              text    primary key not null,
    conversation_id text    not null references conversations,
    role            text    not null check (role in ('user', 'agent')),
    name            text    not null,
    email           text,
    created_at      integer not null,
    unique (conversation_id, role),
    unique (conversation_id, id)
) strict, without rowid;

-- The agent of a session needs no row in agents: one that nobody declared answers by the node's defaults.
create table sessions (
    id                   text    primary key not null,
    conversation_id      text    not null references conversations,
    agent_id             text    not null,
    agent_name           text    not null,
    user_participant_id  text    not null,
    agent_participant_id text    not null,
    supports             text    not null check (json_valid(supports)),
    browser_fingerprint  text,
    metadata             text    not null check (json_valid(metadata)),
    created_at           integer not null,
    unique (conversation_id, id),
    foreign key (conversation_id, user_participant_id) references participants (conversation_id, id),
    foreign key (conversation_id, agent_participant_id) references participants (conversation_id, id)
) strict, without rowid;

create table messages (
    id              text    primary key not null,
    conversation_id text    not null,
    seq             integer not null check (seq >= 1),
    direction       text    not null check (direction in ('inbound', 'outbound')),
    participant_id  text    not null,
    text            text    not null,
    created_at      integer not null,
    unique (conversation_id, seq),
    foreign key (conversation_id, participant_id) references participants (conversation_id, id)
) strict;

create table turns (
    id                text    primary key not null,
    conversation_id   text    not null,
    session_id        text    not null,
    agent_id          text    not null,
    request_id        text    not null,
    model             text,
    traceparent       text,
    state             text    not null
                      check (state in ('queued', 'running', 'parked', 'completed', 'failed', 'cancelled')),
    -- Grows with every claim; a write that shows an older one does not count.
    epoch             integer not null check (epoch >= 0),
    -- Grows with every claim too, but a release gives one back.
    attempt           integer not null check (attempt >= 0),
    holder            text,
    lease_until       integer,
    cancel_requested  integer not null default 0 check (cancel_requested in (0, 1)),
    last_seq          integer not null default 0 check (last_seq >= 0),
    answer_message_id text    references messages,
    error_code        text,
    prompt_tokens     integer not null default 0 check (prompt_tokens >= 0),
    completion_tokens integer not null default 0 check (completion_tokens >= 0),
    cost_usd          real    not null default 0 check (cost_usd >= 0),
    created_at        integer not null,
    finished_at       integer,
    constraint turns_request unique (session_id, request_id),
    foreign key (conversation_id, session_id) references sessions (conversation_id, id),
    constraint turns_attempts_are_claims check (epoch >= attempt),
    constraint turns_holder_runs check ((state = 'running') = (holder is not null)),
    constraint turns_lease_runs check ((state = 'running') = (lease_until is not null)),
    constraint turns_runner_claimed check (state not in ('running', 'parked', 'completed', 'failed') or epoch >= 1),
    constraint turns_end_is_final check
        ((state in ('completed', 'failed', 'cancelled')) = (finished_at is not null)),
    constraint turns_failure_has_code check ((state = 'failed') = (error_code is not null)),
    constraint turns_answer_is_final check (answer_message_id is null or finished_at is not null)
) strict;

-- At most one active turn per conversation, whoever writes.
create unique index turns_active on turns (conversation_id) where state in ('queued', 'running', 'parked');
create index turns_of_conversation on turns (conversation_id, created_at, id);
create index turns_queued on turns (created_at, id) where state = 'queued';
create index turns_leased on turns (lease_until) where state = 'running';

-- What a turn did, so that a takeover repeats no side effect: each model reply that called tools, each call, each result.
create table turn_steps (
    turn_id    text    not null references turns,
    step       integer not null check (step >= 1),
    -- The epoch of the holder that wrote it.
    epoch      integer not null check (epoch >= 1),
    kind       text    not null check (kind <> ''),
    payload    text    not null check (json_valid(payload)),
    created_at integer not null,
    primary key (turn_id, step)
) strict, without rowid;
