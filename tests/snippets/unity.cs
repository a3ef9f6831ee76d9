// As much of Unity as the snippet in deploy/CLIENTS.md uses, over .NET's own HTTP, and a Main that plays it.
using System;
using System.Collections;
using System.Collections.Generic;
using System.IO;
using System.Net;
using System.Threading;
using UnityEngine.Networking;

namespace UnityEngine {
    public class MonoBehaviour {}
    public class WaitForSecondsRealtime { public readonly float seconds; public WaitForSecondsRealtime(float time) { seconds = time; } }
    public static class Debug { public static void LogError(object message) { Console.Error.WriteLine(message); } }
    public static class Random {
        static readonly System.Random any = new System.Random();
        public static float Range(float low, float high) { return low + (float)any.NextDouble() * (high - low); }
    }
    public static class Mathf {
        public static float Min(float a, float b) { return Math.Min(a, b); }
        public static float Pow(float a, float b) { return (float)Math.Pow(a, b); }
    }
}

namespace UnityEngine.Networking {
    public class DownloadHandlerBuffer { public string text; }
    public class UploadHandlerRaw { public readonly byte[] data; public UploadHandlerRaw(byte[] body) { data = body; } }
    public class UnityWebRequestAsyncOperation {}

    public class UnityWebRequest : IDisposable {
        readonly HttpWebRequest request;
        public DownloadHandlerBuffer downloadHandler;
        public UploadHandlerRaw uploadHandler;
        public int timeout { set { request.Timeout = value * 1000; } }
        public long responseCode { get; private set; }

        public UnityWebRequest(string url, string method) {
            request = (HttpWebRequest)WebRequest.Create(url);
            request.Method = method;
            request.KeepAlive = false;
        }
        public static string EscapeURL(string text) { return Uri.EscapeDataString(text); }
        public void SetRequestHeader(string name, string value) {
            if (name == "Content-Type") request.ContentType = value; else request.Headers[name] = value;
        }
        public UnityWebRequestAsyncOperation SendWebRequest() {
            try {
                if (uploadHandler != null)
                    using (Stream body = request.GetRequestStream()) body.Write(uploadHandler.data, 0, uploadHandler.data.Length);
                Keep(request.GetResponse());
            } catch (WebException error) { Keep(error.Response); }
            return new UnityWebRequestAsyncOperation();
        }
        void Keep(WebResponse response) {
            if (response == null) return;
            responseCode = (long)((HttpWebResponse)response).StatusCode;
            using (var reader = new StreamReader(response.GetResponseStream())) downloadHandler.text = reader.ReadToEnd();
        }
        public void Dispose() {}
    }
}

static class Play {
    static void Run(IEnumerator coroutine) {
        while (coroutine.MoveNext()) {
            var wait = coroutine.Current as UnityEngine.WaitForSecondsRealtime;
            if (wait != null) Thread.Sleep((int)(wait.seconds * 1000));
        }
    }
    static void Show(string answer) { Console.WriteLine("answer: " + answer); }

    static void Main(string[] words) {
        var board = new Leaderboard { key = words[0] };
        Run(board.Submit("ada", 120, Show));
        Run(board.Top(Show));
        Run(board.MyRank("ada", Show));
    }
}
