//! Handles what arrives from the server. Each message is on the disk before it is acked.

use super::shared::{ChatSessionShared, ChatSessionThreadTask};
use super::trust;
use crate::message::{ChatHistoryMessage, ChatHistoryMessageState, MessageEncryptionStatus};
use crate::session_messages::{ChatContactListFriendRequest, ChatSessionEvent, ServerLinkStatus};
use hongyan::client::{Client, ClientEndReason, ClientEvent, ConnectionToServerState, Error, Push, PushKind};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(1);

/// Passes on the events of the client until it has stopped for good.
pub(super) fn listen(desk: &ChatSessionShared, client: &Client, tasks: &SyncSender<ChatSessionThreadTask>) {
    loop {
        // The worker may be waiting for an answer of the server. Its queue is long, and it never
        // waits for this thread.
        let tell_worker = |task| tasks.send(task).unwrap_or(());
        match client.next(WAIT) {
            Ok(Some(ClientEvent::Push(delivery))) => {
                if take(desk, client, &delivery) {
                    let is_message = delivery.kind == PushKind::Message;
                    delivery.ack();
                    if !is_message {
                        tell_worker(ChatSessionThreadTask::Refresh);
                    }
                }
            }
            Ok(Some(ClientEvent::Presence { user_name, online })) => {
                desk.emit(ChatSessionEvent::Presence { name: user_name, is_online: online });
            }
            Ok(Some(ClientEvent::Connection(ConnectionToServerState::Online))) => {
                tell_worker(ChatSessionThreadTask::Online)
            }
            Ok(Some(ClientEvent::Connection(ConnectionToServerState::Offline { reason, .. }))) => {
                desk.emit(ChatSessionEvent::Link(ServerLinkStatus::Away(reason)))
            }
            Ok(Some(ClientEvent::Connection(ConnectionToServerState::Ended(end)))) | Err(Error::Ended(end)) => {
                tell_worker(ChatSessionThreadTask::Over(end));
                return;
            }
            Err(error) => {
                tell_worker(ChatSessionThreadTask::Over(ClientEndReason::Fault(error.to_string())));
                return;
            }
            Ok(_) => {}
        }
    }
}

/// Handles a push. True if it can be acked: it is stored, or the user will learn of it.
fn take(desk: &ChatSessionShared, client: &Client, push: &Push) -> bool {
    let name = push.sender.clone();
    match push.kind {
        PushKind::Message => take_message(desk, client, push),
        // The server stores a request until it is answered, and a friendship for as long as it
        // exists.
        PushKind::FriendRequest => {
            desk.emit(ChatSessionEvent::Asked(ChatContactListFriendRequest {
                name,
                id: push.message_id.clone(),
                text: push.content.clone(),
            }));
            true
        }
        kind => {
            let is_accepted = kind == PushKind::FriendAccept;
            desk.emit(ChatSessionEvent::Answered { name, is_accepted, text: push.content.clone() });
            true
        }
    }
}

fn take_message(desk: &ChatSessionShared, client: &Client, push: &Push) -> bool {
    // Without the sender's keys the message cannot be verified. The server will send it again.
    if desk.keyring().needs_keys_of(push) && trust::fetch_and_check_keys(desk, client, &push.sender).is_none() {
        return false;
    }
    let (text, seal) = desk.keyring().open_message(&push.sender, &push.message_id, &push.content);
    if seal == MessageEncryptionStatus::Doubtful {
        // Has the sender new keys? If so, the user is warned and asked.
        trust::fetch_and_check_keys(desk, client, &push.sender);
    }
    let message = ChatHistoryMessage {
        with: push.sender.clone(),
        id: push.message_id.clone(),
        time: push.time_ms(),
        text,
        way: ChatHistoryMessageState::Received,
        seal,
    };
    match desk.update_history(|history| history.add(&message)) {
        Ok(true) => {}
        Ok(false) => return true,
        Err(error) => {
            desk.warn(format!("a message cannot be kept, and will come again: {error}"));
            return false;
        }
    }
    desk.emit(ChatSessionEvent::Message(message));
    true
}
