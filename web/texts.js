// The texts: key|English|Chinese. {name} and the like are filled in.
const lines = `
name|hongyan|鸿雁
tagline|Messages that arrive.|消息必达。
today|Today|今天
yesterday|Yesterday|昨天
you|You|我
back|Back to the list|返回列表
online|online|在线
offline|offline|离线
close|Close|关闭
cancel|Cancel|取消
enter.logIn|Log in|登录
enter.signUp|Create an account|注册账号
enter.toSignUp|New here? Create an account|还没有账号？注册一个
enter.toLogIn|You have an account? Log in|已有账号？登录
enter.user|User name|用户名
enter.password|Password|密码
enter.nick|Nickname (others see it; may be left empty)|昵称（他人可见，可不填）
enter.show|Show the password|显示密码
enter.hashing|Checking the password …|正在验证密码……
enter.keys|Making your encryption keys …|正在生成加密密钥……
enter.account|Creating the account …|正在创建账号……
enter.note|Everybody with an account here can find you and see your profile. Messages to friends are encrypted in this browser: the server cannot read them.|本服务器的用户都能找到你并看到你的资料。发给好友的消息在浏览器中加密，服务器无法读取。
enter.expired|Please log in again: the kept log-in has expired or was ended.|请重新登录：保存的登录已过期或已被终止。
enter.out|You are logged out.|你已退出登录。
enter.deleted|The account is deleted.|账号已删除。
enter.short|Use at least 8 characters.|至少使用 8 个字符。
secure.title|This address is not safe for messages|此地址不适合收发消息
secure.why|It is plain HTTP from another machine. There, browsers switch off encryption, and anybody on the way could read your password. So nothing is sent from here.|这是来自另一台机器的未加密 HTTP。浏览器在此关闭加密功能，途中的任何人都可能读到你的密码，因此不会发送任何内容。
secure.how|Open the page in one of these ways:|请这样打开：
secure.https|with https://, if the server has a certificate (option --tls-cert)|使用 https://（服务器需有证书，选项 --tls-cert）
secure.local|on the server's own machine, at {url}|在服务器本机上打开 {url}
secure.tunnel|through a tunnel: run {command}, then open {url}|通过隧道：运行 {command}，然后打开 {url}
page.old|This browser is too old for this page. Please update it.|此浏览器版本过旧，请更新。
name.empty|Please type a user name.|请输入用户名。
name.long|A user name has at most 64 characters.|用户名最多 64 个字符。
name.space|A user name cannot begin or end with a space.|用户名首尾不能有空格。
name.odd|The user name has invisible or forbidden characters.|用户名含有不可见或不允许的字符。
name.system|The name “system” is reserved.|“system” 是保留名称。
list.label|People and chats|联系人和聊天
list.chats|Chats|聊天
list.empty|No friends yet.|还没有好友。
list.emptyHow|Type somebody's user name above, and ask them to be your friend.|在上方输入对方的用户名，然后发送好友请求。
list.draft|Draft:|草稿：
list.nothing|No messages yet|还没有消息
list.unread|unread|条未读
requests.in|Friend requests|好友请求
requests.out|You asked|已发出的请求
accept|Accept|接受
acceptWho|Accept {name}|接受 {name}
reject|Reject|拒绝
rejectWho|Reject {name}|拒绝 {name}
withdraw|Withdraw|撤回
withdrawWho|Withdraw the request to {name}|撤回发给 {name} 的请求
search.hint|Search, or find a user by name|搜索，或按用户名查找
search.people|Friends|好友
search.messages|Messages|消息
search.find|Find the user {name}|查找用户 {name}
search.count|{count} found|找到 {count} 项
chat.label|Chat|聊天窗口
chat.none|Choose a chat, or find somebody by their user name.|选择一个聊天，或按用户名查找。
chat.messages|Messages with {name}|与 {name} 的消息
chat.write|Write a message|输入消息
chat.send|Send|发送
chat.newest|Newest messages|最新消息
chat.new|New|新消息
chat.noFriend|You and {name} are not friends, so you cannot write to each other.|你和 {name} 不是好友，不能互发消息。
chat.asked|{name} has not answered your friend request yet.|{name} 还没有回应你的好友请求。
chat.plain|Not encrypted: {name} has no encryption keys. The server can read these messages.|未加密：{name} 没有加密密钥，服务器可以读取这些消息。
chat.from|{name}: {text}|{name}：{text}
text.long|This message is too long. Please send it in parts.|消息太长，请分几次发送。
trouble.store|This browser cannot store messages. Is its disk full, or is this a private window? Until it can, messages stay on the server.|浏览器无法保存消息。磁盘已满，还是隐私窗口？消息暂留在服务器上。
system.title|Notices of the server|服务器通知
system.sub|from the operator|来自管理员
event.ask|{name} asked to be your friend|{name} 请求加你为好友
event.accept|{name} accepted your friend request|{name} 接受了你的好友请求
event.reject|{name} did not accept your friend request|{name} 没有接受你的好友请求
state.wait|waiting to be sent|等待发送
state.sent|sent, not confirmed yet|已发送，尚未确认
state.safe|safe on the server|已安全保存在服务器
state.failed|not sent|未发送
send.retry|Try again|重试
send.discard|Discard|丢弃
send.NOT_FRIENDS|Not sent: you are not friends.|未发送：你们不是好友。
send.FULL|Not sent: the mailbox of your friend is full. Try again in some minutes.|未发送：对方的信箱已满，请几分钟后重试。
send.TOO_LARGE|Not sent: too long for this server.|未发送：超过本服务器的长度限制。
send.KEYS_CHANGED|Not sent: your friend's encryption keys changed.|未发送：对方的加密密钥已改变。
send.NO_KEYS_HERE|Not sent: this browser has no encryption keys.|未发送：此浏览器没有加密密钥。
send.NO_USER|Not sent: this user no longer exists.|未发送：该用户已不存在。
send.OTHER|Not sent: the server refused it.|未发送：服务器拒绝了。
lock.on|Encrypted|已加密
lock.safe|Encrypted, compared|已加密并核对
lock.off|Not encrypted|未加密
lock.changed|Keys changed|密钥已改变
lock.details|{state}. Show details|{state}。查看详情
lock.plain|not encrypted|未加密
lock.short|Encrypted message|加密消息
lock.nokey|Encrypted, but this browser has no encryption keys.|已加密，但此浏览器没有加密密钥。
lock.receiver|Encrypted for other keys than those of this browser.|是用其他密钥加密的，此浏览器无法读取。
lock.unverified|Not shown: it is not signed with the keys that you know of this friend.|未显示：签名所用的密钥不是你所知道的对方密钥。
lock.forged|Not shown: its signature is wrong. Somebody may have changed it.|未显示：签名错误，可能被人改动过。
keys.changed|The encryption keys of {name} changed. They may have a new device, or somebody may pretend to be them. Nothing is sent until you decide.|{name} 的加密密钥已改变。可能换了新设备，也可能有人冒充。你决定之前不会发送任何消息。
keys.gone|{name} had encryption keys, and now has none. Nothing is sent until you decide.|{name} 的加密密钥消失了。你决定之前不会发送任何消息。
keys.review|Compare and decide|核对并决定
keys.newNumber|The safety number with the new keys:|使用新密钥时的安全码：
keys.agree|I trust the new keys|我信任新密钥
keys.agreePlain|Write without encryption|不加密继续
keys.agreed|The new keys are accepted.|已接受新密钥。
keys.title|Encryption|加密
keys.number|Safety number|安全码
keys.compare|Compare it with {name}, side by side or in a call. If you both see the same number, nobody reads along.|请与 {name} 当面或通话核对。号码相同，就没有人能偷看。
keys.compared|We compared it, and it is the same|我们核对过，号码一致
keys.unknown|Their keys are not known yet.|尚不知道对方的密钥。
keys.setUp|Set up encryption|设置加密
keys.missingHere|Encrypted messages cannot be read or written in this browser yet.|此浏览器还不能读写加密消息。
keys.state.ok|On. The private keys are in this browser and cannot be read out of it.|已启用。私钥保存在此浏览器中，无法被导出。
keys.state.none|This account has no encryption keys yet.|此账号还没有加密密钥。
keys.state.missing|Your keys are in another browser or client. Import a backup of them, or make new ones.|你的密钥在另一个浏览器或客户端中。请导入备份，或生成新密钥。
keys.state.other|The keys published for your account are not those of this browser. If you did not make new ones elsewhere, somebody may have replaced them.|你账号公布的密钥不是此浏览器的。如果不是你在别处生成的，可能有人替换了它们。
keys.state.hidden|The keys of this browser are not published, so friends cannot use them.|此浏览器的密钥没有公布，好友无法使用。
keys.state.unknown|Known as soon as the server is connected.|连接服务器后才能知道。
keys.import|Import a backup|导入备份
keys.file|Backup file|备份文件
keys.passphrase|Passphrase|口令
keys.again|The same passphrase again|再次输入口令
keys.make|Make new keys|生成新密钥
keys.makeWarn|Friends will be warned that your keys changed. Messages for the old keys that are still on their way cannot be read here.|好友会收到密钥改变的警告，途中用旧密钥加密的消息将无法读取。
keys.publish|Publish the keys of this browser|公布此浏览器的密钥
keys.imported|The keys are imported.|密钥已导入。
keys.error.file|This is not a backup of keys, or it is damaged.|这不是密钥备份，或者已损坏。
keys.error.user|This backup belongs to another user.|此备份属于另一个用户。
keys.error.passphrase|The passphrase is wrong, or the file is damaged.|口令错误，或文件已损坏。
backup.title|Keep a copy of your keys?|保存一份密钥副本？
backup.why|Your keys exist only in this browser, and a copy can be made only now. You need it to use another browser, or this one after its data was cleared: otherwise messages that wait for you then cannot be read.|密钥只在此浏览器中，而且只有现在可以制作副本。换用浏览器或清除数据后需要它，否则届时等待你的消息将无法读取。
backup.save|Save the copy|保存副本
backup.skip|Without a copy|不要副本
backup.short|Use at least 12 characters: whoever has the file can guess without a limit.|至少 12 个字符：拿到文件的人可以无限次猜测。
backup.differ|The two passphrases differ.|两次输入的口令不同。
backup.saved|The copy is saved. Keep it and the passphrase in a safe place.|副本已保存。请妥善保管文件和口令。
person.self|This is you.|这是你自己。
person.ask|Ask to be friends|加为好友
person.words|A few words with your request|附言
person.asked|asked, not answered|已请求，未回应
person.askedDone|The request is sent.|请求已发送。
person.stranger|not your friend|不是你的好友
person.friend|your friend|你的好友
person.open|Open the chat|打开聊天
person.drop|End the friendship|解除好友关系
person.dropSure|End the friendship with {name}? They are not told. The messages stay in this browser.|解除与 {name} 的好友关系？对方不会收到通知，消息仍保留在此浏览器中。
person.block|Block|屏蔽
person.blockSure|Block {name}? The friendship ends, and their requests no longer reach you. They are not told.|屏蔽 {name}？好友关系将解除，不再收到对方的请求。对方不会收到通知。
person.blocked|{name} is blocked.|已屏蔽 {name}。
field.location|Place|地点
field.emailAddress|E-mail|电子邮件
field.personalDescription|About|简介
status.connecting|Connecting …|正在连接……
status.waiting|The server is away. What you write is sent when it is back.|服务器暂时无法连接。你写的内容会在恢复后发送。
status.again|Trying again in {seconds} s|{seconds} 秒后重试
status.now|Try now|立即重试
status.replaced|You are logged in on another device or in another program: this page is offline.|你已在另一台设备或程序中登录，本页面处于离线状态。
status.here|Use here|在这里使用
status.refused|The server ended this log-in: {sentence}|服务器终止了此登录：{sentence}
settings|Settings|设置
settings.of|Settings of {name} ({state})|{name} 的设置（{state}）
settings.save|Save|保存
settings.saved|Saved.|已保存。
settings.profile|Profile|个人资料
settings.profileNote|Everybody with an account on this server can see this.|本服务器上的所有用户都可以看到。
field.nickName|Nickname|昵称
settings.picture|Choose a picture|选择图片
settings.pictureNone|No picture|不用头像
settings.pictureBad|This picture cannot be used.|无法使用此图片。
settings.display|Language and notifications|语言和通知
settings.language|Language|语言
settings.notify|Show notifications for new messages|有新消息时显示通知
settings.notifyNo|Notifications are blocked for this page in the browser's settings.|浏览器设置中已禁止本页面的通知。
settings.oldPassword|Present password|当前密码
settings.newPassword|New password|新密码
settings.passwordNote|Every other device and program of yours is logged out.|你的其他设备和程序都会退出登录。
settings.passwordChange|Change the password|修改密码
settings.passwordDone|The password is changed.|密码已修改。
settings.blocked|Blocked users|已屏蔽的用户
settings.blockedNone|Nobody is blocked.|没有屏蔽任何人。
settings.unblock|Unblock|取消屏蔽
settings.unblockWho|Unblock {name}|取消屏蔽 {name}
settings.account|Log out, or delete the account|退出登录或删除账号
settings.logOut|Log out|退出登录
settings.logOutNote|This ends the kept log-ins of all your browsers and programs.|这会终止你所有浏览器和程序中保存的登录。
settings.remove|Remove messages and keys from this browser, too|同时从此浏览器中删除消息和密钥
settings.removeWarn|Without a copy of your keys, they are then lost.|如果没有密钥副本，密钥将会丢失。
settings.logOutAway|The server cannot be reached, so the kept log-in stays valid there for up to 30 days. Log out of this browser only?|无法连接服务器，保存的登录在服务器上最多 30 天内仍有效。只在此浏览器中退出吗？
settings.delete|Delete the account|删除账号
settings.deleteNote|This removes your profile, friends and waiting messages from the server, and everything of yours from this browser. Nobody can use this name again. It cannot be undone.|这会从服务器上删除你的资料、好友和等待中的消息，并清除此浏览器中的数据。此用户名不能再用，无法撤销。
settings.deleteSure|Yes, delete my account for ever|是的，永久删除我的账号
settings.deleteTick|Please tick the box first.|请先勾选确认框。
error.AWAY|The server cannot be reached now.|现在无法连接服务器。
error.TIMEOUT|The server did not answer in time.|服务器没有及时回应。
error.UNAVAILABLE|The server cannot do this now. Please try again soon.|服务器暂时无法处理，请稍后重试。
error.RATE_LIMITED|Too many tries. Please wait a minute.|尝试次数过多，请等待一分钟。
error.NAME_TAKEN|This user name is taken.|此用户名已被使用。
error.WRONG_PASSWORD|Wrong user name or password.|用户名或密码错误。
error.FORBIDDEN|The server refused this: {sentence}|服务器拒绝：{sentence}
error.NO_USER|There is no such user. Capital and small letters matter.|没有这个用户。请注意大小写。
error.NO_SUCH_REQUEST|This request was answered or withdrawn already.|此请求已被处理或撤回。
error.FULL|There is no room for it now. Please try again later.|现在没有空间，请稍后重试。
error.UNKNOWN_TYPE|This server is too old for that.|此服务器版本过旧，不支持该功能。
error.OLD_PASSWORD|The present password is wrong.|当前密码错误。
error.OTHER|That did not work: {sentence}|操作失败：{sentence}
`;
export const texts = new Map();
for (const line of lines.trim().split("\n")) {
	const [key, ...words] = line.split("|");
	texts.set(key, words);
}
