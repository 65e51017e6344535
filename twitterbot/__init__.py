"""The bot on X (Twitter): somebody tags it under a post, and it answers with what the examination found.

One more way in and a channel for answers: it examines nothing and stores no media itself. From above to below:

- ``management/commands/run_twitterbot.py`` runs rounds until it is told to stop.
- ``bot.py`` is one round: read, decide, collect, send. ``health.py`` tells how it is.
- ``services.py`` takes mentions in and decides what is to be done with each; ``outbox.py`` sends, each message once.
- ``reading.py`` finds the video or photo that a mention is about; ``wording.py`` has all texts, ``length.py`` how X
  counts them, ``budget.py`` what may be read and sent a month and an hour.
- ``people.py`` and ``linking.py`` know who is who: an account on X, the account here, and how one joins them.
- ``client.py`` speaks HTTP with X by tweepy, and nothing else does.

What the steps of the bot were called where it was first drawn, and where each is now:

================== =====================================================================================
FetchTweets        :func:`twitterbot.services.take_in_mentions`
FindUser           :func:`twitterbot.people.account_of`
CreateNewUser      :func:`twitterbot.people.user_of`
InsertUserVideo    :func:`media_analysis.links.submit_link`, called by :func:`twitterbot.services.handle`
IsTweetProcessed   the unique ``Mention.tweet_id`` and ``Mention.status``
GetVideo           :func:`twitterbot.reading.choose_media`
DownloadVideo      the worker, once :func:`media_analysis.links.submit_link` has queued it
Classify           the worker, as for every other file
ParseModelOutput   :func:`twitterbot.wording.result_reply` and :func:`twitterbot.wording.result_details`
FetchHistory       :func:`accounts.limits.remaining`, told in each direct message
SendTweets         :func:`twitterbot.outbox.send_due`
CommentOnTweet     :meth:`twitterbot.client.XClient.reply`
DirectMessageUser  :meth:`twitterbot.client.XClient.direct_message`
================== =====================================================================================
"""
